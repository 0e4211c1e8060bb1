"""`python -m rcc_integrations.cli`: the same as the `rcc` command."""

from rcc_integrations.cli import main

if __name__ == "__main__":
    main()
