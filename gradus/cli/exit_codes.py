"""What the exit codes of `gradus` mean; docs/cli.md lists them."""

DONE = 0
FAILED = 1  # the work could not be done
USAGE = 2  # the command line or a configuration value was wrong
PARTLY = 3  # done, but some lines of a batch were answered with an error
DEFECT = 70  # a failure that Gradus did not foresee
INTERRUPTED = 130  # Ctrl-C
