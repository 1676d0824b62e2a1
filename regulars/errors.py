"""Every error a caller may want to tell apart.

::

    RegularsError                 the command line prints it as one line and exits 1
    ├── SettingsError             a setting cannot be used
    ├── DataError                 what came in is wrong
    │   ├── ImportRefused         a file that cannot be taken into the lake
    │   └── MissingData           a table or a span of time that is needed is not there
    ├── LakeError                 the lake's own state is wrong or busy
    ├── ArtifactError             a saved model is broken, altered or of another kind
    ├── ModelMissing              no version answers what was asked
    └── StoreError                the service's database cannot be used
"""


class RegularsError(Exception):
    """The root: says what was expected, what came, and what to do next."""


class SettingsError(RegularsError):
    pass


class DataError(RegularsError):
    pass


class ImportRefused(DataError):
    pass


class MissingData(DataError):
    pass


class LakeError(RegularsError):
    pass


class ArtifactError(RegularsError):
    pass


class ModelMissing(RegularsError):
    pass


class StoreError(RegularsError):
    pass
