"""Portico beside other servers: one command, ``python3 -m bench``.

Linux only: CPU clocks, affinity and memory are read as Linux offers them.  The load is wrk
(Debian: ``apt install wrk``), the plots of a report are made by matplotlib
(``pip install --group bench``); nothing else is needed.

======================  ======================================================================
``scenarios``           what is asked: a table of requests and the files they need
``servers``             who is asked: a table of servers, their commands and configurations
``runner``              starts them, lets them take turns under load, and keeps what was seen
``parts``               what is measured: scenarios, start, memory, idle connections, and so on
``report``, ``plots``   the tables on the terminal and the page with its figures
``against``             another comparison: two checkouts of Portico
======================  ======================================================================
"""
