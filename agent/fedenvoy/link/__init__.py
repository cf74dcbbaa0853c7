"""The link to the director: the only part of the agent that knows gRPC.

One `DirectorLink` is one channel. Its methods answer or raise `fedenvoy.calls.CallError`. It decides nothing about
what happens next, sends no keepalive pings, and never retries by itself.
"""
