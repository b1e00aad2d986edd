"""Arrays of other libraries: objects that offer their values by one protocol alone, and count how often."""


class OnlyDLPack:
    """Offers `array` by DLPack; before version 1, without options."""

    def __init__(self, array, versioned=True):
        self.array, self.versioned, self.reads = array, versioned, 0

    def __dlpack__(self, **options):
        if not self.versioned:
            if options:
                raise TypeError(options)
            return self.array.__dlpack__()
        self.reads += 1
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnlyArray:
    """Offers `array` by ``__array__``."""

    def __init__(self, array):
        self.array, self.reads = array, 0

    def __array__(self, dtype=None, copy=None):
        self.reads += 1
        return self.array
