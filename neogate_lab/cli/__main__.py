"""`python -m neogate_lab.cli` is `neogate-lab`."""

from neogate_lab.cli import app

if __name__ == "__main__":
    app(prog_name="neogate-lab")
