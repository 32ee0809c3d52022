"""The kernel of the dashboard's page: its signals and its log; the kernelspec in `page` runs it."""

from __future__ import annotations

import logging

from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

__all__ = ["PageKernel"]


class PageKernel(IPythonKernel):
    """A kernel that no interrupt cuts short.

    Voila interrupts a kernel before it asks it to end, when its page is left and at Ctrl-C. What
    the page has asked by then is done to its end, as nobody has asked for less.
    """

    def pre_handler_hook(self) -> None:
        """Leave SIGINT ignored, as the kernel's start has it."""

    def post_handler_hook(self) -> None:
        """Restore nothing."""


if __name__ == "__main__":
    # Warnings: that it talks in clear over this machine's own loopback, and that a message came
    # while it ended.
    logging.getLogger("tornado").setLevel(logging.ERROR)
    IPKernelApp.launch_instance(kernel_class=PageKernel, log_level=logging.ERROR)
