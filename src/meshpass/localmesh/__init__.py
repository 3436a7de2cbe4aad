"""The local mesh: three clusters, their workloads and Envoys on one machine, run by one supervisor. Does IO.

Nouns: a **mesh file** says what is in the mesh; a **state directory** holds what outlives the supervisor; the
**supervisor** runs API servers and control plane in its own process, and Envoys and apps as **child processes** that
die with it.
"""
