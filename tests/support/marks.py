"""Which tests a sanitised run leaves out, where more than one file has such."""

import pytest

# GCC's ASan (12) does not look after its locks at a fork() beside another thread: the child hangs in malloc().
FORKS_BESIDE_THREADS = pytest.mark.release
