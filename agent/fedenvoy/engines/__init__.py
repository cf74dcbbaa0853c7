"""What Training runs, each in a process of its own, and the hand that starts, watches and ends that process."""
