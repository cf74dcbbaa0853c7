"""Scripts that run in the experiment's interpreter: standard library only, run by path, never imported by the agent."""
