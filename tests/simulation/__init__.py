"""The whole agent on a virtual clock: the real core and loop, with everything around them simulated.

The director, the network, the disk, the experiments' processes, the users and the operator are plain objects that act
when their time has come. One seeded source of chance decides everything, so that a seed is a whole history and gives
the same one each time. See docs/simulation.md.
"""
