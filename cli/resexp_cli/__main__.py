"""`python -m resexp_cli` is `resexp`."""

from resexp_cli.main import main

if __name__ == "__main__":
    main()
