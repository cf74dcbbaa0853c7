"""What monitoring systems ask a node over HTTP: is it alive, is it ready, what does it do, and its numbers.

Reads only. Everything comes from callables and from the tally, which the owner feeds; nothing here is loaded unless
`agent.http.listen` is set.
"""
