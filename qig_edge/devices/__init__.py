"""Machines a model runs on: profiles/*.toml, the probe of this machine, the cross build, emulation."""
