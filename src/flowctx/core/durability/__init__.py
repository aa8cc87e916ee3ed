"""Runs that survive: recorded, resumed, replayed.

* :mod:`.records`: runs, steps and captures, as frozen values
* :mod:`.ledger`: the port for what remembers them
* :mod:`.run_plan`: how a run begins; :mod:`.recorder`: records it as its steps end
* :mod:`.leases`: signs of life of the runs of a process
* :mod:`.run_ledgers`: a ledger whose failures are only logged, and none at all
* :mod:`.resumption`, :mod:`.continuation`: how a run goes on, by whoever continues it
* :mod:`.step_attempt`: one attempt at one step, the same on every engine
* :mod:`.replay`: one step again, on the context that it saw
"""
