"""Requests in number against a gateway, each one counted: what was sent, what was answered, with what."""

import threading
import time
from collections import Counter

from rawhttp import Cut


class Load:
    """`clients` threads, each with a connection of its own that asks for `target` again and again; a POST if there is a body.

    `answers` counts statuses, "cut", "refused" and what was no answer at all, `texts` what was answered; `sent` was asked for."""

    def __init__(self, gateway, target="/", clients=4, requests=None, pause=0.0, body=None):
        self.gateway, self.target, self.requests, self.pause, self.body = gateway, target, requests, pause, body
        self.answers = Counter()
        self.texts = Counter()
        self.sent = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.ask, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def count(self, outcome, *texts):
        with self.lock:
            self.answers[outcome] += 1
            self.texts.update(texts)

    def ask(self):
        connection, sent = None, 0
        while not self.over.is_set() and sent != self.requests:
            sent += 1
            with self.lock:
                self.sent += 1
            try:
                if connection is None:
                    connection = self.gateway.connect()
                answer = connection.get(self.target) if self.body is None else connection.post(self.target, self.body)
                self.count(answer.status, answer.text)
                if answer.get("Connection") == "close":
                    connection = connection.close()
            except ConnectionRefusedError:
                self.count("refused")
            except Exception as error:  # else it is no HTTP, or the bytes of somebody else
                self.count("cut" if isinstance(error, (Cut, OSError)) else repr(error))
                connection = connection.close() if connection else None
            if self.pause:
                time.sleep(self.pause)
        if connection:
            connection.close()

    def join(self, patience=60):
        """All `requests` of each client are done."""
        for thread in self.threads:
            thread.join(patience)
            assert not thread.is_alive(), "a request hangs"
        return self

    def stop(self):
        self.over.set()
        return self.join()

    def all_good(self):
        """Every request was answered with 200; the number of them."""
        assert set(self.answers) == {200}, self.answers
        return self.answers[200]
