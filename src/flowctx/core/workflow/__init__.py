"""What a workflow is: steps and their order, results, the context, and who a run is.

* :mod:`.definition`: ``Workflow``, ``Step``, ``RetryPolicy``
* :mod:`.context`: ``WorkflowContext``; :mod:`.checkpoint`: ``CheckpointState``
* :mod:`.result`: ``StepResult``, ``QualityMetrics``, ``ErrorCategory``; :mod:`.run_result`: ``RunResult``, ``StepRun``
* :mod:`.business_date`: ``AsOf``, the rules for the as-of date; :mod:`.date_of_run`: which date a run has
* :mod:`.run_request`: all that a caller may say of a run; :mod:`.traceparent`: the engine's trace
* :mod:`.parameters`, :mod:`.step_function`: the types of parameters, and how a step's function is called
* :mod:`.run_context`: the context that a run begins with, and its ids
* :mod:`.import_path`, :mod:`.code_version`: where a workflow is in the code, and which code a step is
"""
