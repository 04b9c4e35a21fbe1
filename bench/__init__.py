"""Portico beside other servers: one command, ``python3 -m bench``.

Linux only: CPU clocks, affinity and memory are read as Linux offers them.  The load is wrk
(Debian: ``apt install wrk``), and matplotlib draws the plots of a report
(``pip install --group bench``); nothing else is needed.  What is asked and who is asked stands in
``scenarios.toml`` and ``servers.toml``, how anything is measured in ``runner``.
"""
