"""Why a command was not carried out."""


class QmpError(Exception):
    """The error of a reply.

    Parameters: `desc`, the text; `kind`, QEMU's error class: GenericError, CommandNotFound or DeviceNotFound.
    """

    def __init__(self, desc: str, kind: str = "GenericError") -> None:
        super().__init__(desc)
        self.desc = desc
        self.kind = kind
