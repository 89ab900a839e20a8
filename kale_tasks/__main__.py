"""`python -m kale_tasks` is the `kale` command."""

from kale_tasks.cli.app import main

main()
