"""What can go wrong because of the user's data, files or settings: one sentence each, with the way out."""


class IsthmusError(ValueError):
    """Root of the errors a user can mend; the message names the file, column or value and says what to do."""


class DataError(IsthmusError):
    """The data cannot be used as it is."""


class ModelFileError(IsthmusError):
    """A saved model cannot be read or written."""


class SettingError(IsthmusError):
    """A hyper-parameter, or a combination of them, makes no sense."""


class TrainingError(IsthmusError):
    """Training could not reach finite weights."""


class DataWarning(UserWarning):
    """The data was usable only after a stated rule was applied (an unseen category, a skipped image, ..)."""
