"""Decides about an experiment before anything of it runs: by asking somebody, or by the site's policy.

What an archive holds is inspected here as data; nothing of it is imported, unpickled or run. The machine is not known.
"""

from fedenvoy.review.asking import Review, ReviewError, TerminalReview, decide

__all__ = ["Review", "ReviewError", "TerminalReview", "decide"]
