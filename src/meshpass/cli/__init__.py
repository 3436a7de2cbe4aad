"""The command line: data on standard output, talk on standard error, a hint after every error. Does IO.

One module per group of commands. What a command needs is imported when it runs, so that ``--help`` is quick.
"""
