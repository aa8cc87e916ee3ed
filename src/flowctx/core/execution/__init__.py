"""Running one step, and what it hands to the next. Every engine goes through here.

* :mod:`.execute`: run a step on a context
* :mod:`.envelope`: what one step hands to the next
* :mod:`.artifacts`: the port for large outputs
"""
