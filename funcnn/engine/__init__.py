"""How work meets the machine: buffers, threads, and batches that are cut into microbatches.

Nobody above needs to know this room: a layer is a function of its arguments, and what is here only decides where and
when it runs. A newcomer adds nothing here for a new layer.
"""
