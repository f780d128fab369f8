"""`python -m cardproof`: the command, run by an interpreter of choice."""

from cardproof.cli.main import main

if __name__ == "__main__":
    main()
