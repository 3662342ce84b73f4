"""The command line of resexp: parse, call, print."""
