"""Fuzzing: what comes from outside, made by strategies in the commit tier and by coverage in the nightly one."""
