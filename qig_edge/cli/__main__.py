"""python -m qig_edge.cli: the same as the qig-edge script."""

from qig_edge.cli import main

main()
