"""What ``speed.py`` is made of. Importing this fixes what libraries read only once, at their own import: the threads."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TQDM_DISABLE", "1")
if os.environ["OMP_NUM_THREADS"] == "1":
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
