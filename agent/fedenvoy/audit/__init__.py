"""An auditor's view of a node's journal: what happened, in what order, who decided, and how long it took.

It reads the store's files and the lifecycle's table, and knows nothing of the agent that wrote them: neither its core
nor its processes are asked, so that it works for a node that is gone.
"""
