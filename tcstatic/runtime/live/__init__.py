"""What runs in the user's process: loader, probes wired to monitors, report parts."""
