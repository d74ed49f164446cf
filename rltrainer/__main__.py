"""`python -m rltrainer`."""

from rltrainer.cli import main

main()
