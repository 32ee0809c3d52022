"""The kernel of the dashboard's page: what it does with interrupts and warnings; a script.

Outside the package: who imports that before there is a shell keeps ipywidgets from finding one.
"""

from __future__ import annotations

import logging
import sys

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp


class PageKernel(IPythonKernel):
    """A kernel that goes on when it is interrupted.

    Voila interrupts a kernel before it asks it to end, when its page is left and at Ctrl-C: where
    that cut a message of the page short, the terminal showed a KeyboardInterrupt.
    """

    def pre_handler_hook(self) -> None:
        """Leave SIGINT ignored, as the kernel's start has it."""

    def post_handler_hook(self) -> None:
        """Restore nothing."""


if __name__ == "__main__":
    # Warnings: that it talks in clear over this machine's own loopback, and that a message came
    # while it ended. On the command line, where no configuration of the user's goes before it.
    logging.getLogger("tornado").setLevel(logging.ERROR)
    IPKernelApp.launch_instance(
        [*sys.argv[1:], "--IPKernelApp.log_level=ERROR"], kernel_class=PageKernel
    )
