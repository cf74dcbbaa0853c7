"""From "an archive arrives" to "the experiment's files and environment are there"; starts nothing of the experiment."""
