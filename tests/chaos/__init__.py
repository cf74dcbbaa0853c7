"""The real agent process among real faults: seeded schedules, and the tables of faults by state.

What is real here: the agent as `python -m fedenvoy start`, its store, its children, uv, gRPC over TCP, the signals. The
director is the sandbox's, in a process of its own behind a relay; `tests/interop` has the real one.
"""
