"""The only way out of a confined experiment: from a unix socket to the aggregator of the approved plan.

The experiment's process speaks plain HTTP/2 to the socket; the relay adds TLS with this node's key, which the process
never sees. It passes bytes and understands none of them.
"""

from fedenvoy.relay.relay import AggregatorRelay

__all__ = ["AggregatorRelay"]
