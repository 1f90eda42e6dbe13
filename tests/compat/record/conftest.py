"""The scripts here run where MXNet 1.9.1 is installed; they are no tests."""

collect_ignore_glob = ["*.py"]
