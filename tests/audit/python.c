/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <check.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/audit/python.h"
#include "tests/harness.h"

static const char script[] = "from multiprocessing import shared_memory as s\n"
    "import signal\nm = s.SharedMemory(create=True, size=65536)\nm.buf[:] = b'x' * 65536\n"
    "print(m.name, flush=True)\nsignal.pause()\n";

void
python_must_be_there(void)
{
	if (system("python3 -c 'from multiprocessing import shared_memory' 2>/dev/null") != 0)
		harness_skip("no python3 with shared memory");
}

/* A process group of its own, for the tracker. */
static void
python_exec(const int ends[2])
{
	(void)setpgid(0, 0);
	(void)dup2(ends[1], STDOUT_FILENO);
	(void)close(ends[0]);
	(void)close(ends[1]);
	(void)execlp("python3", "python3", "-c", script, (char *)NULL);
	_exit(1);
}

void
python_start(struct python *ret_python)
{
	struct python python = { .name = "" };
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	python.pid = harness_fork();
	if (python.pid == 0)
		python_exec(ends);
	(void)close(ends[1]);
	python.fd = ends[0];
	for (size_t n = 0; n < sizeof(python.name) - 1 && read(python.fd, python.name + n, 1) == 1 && python.name[n] != '\n'; n++)
		continue;
	python.name[strcspn(python.name, "\n")] = '\0';
	ck_assert_str_ne(python.name, "");
	*ret_python = python;
}

void
python_kill(struct python *python)
{
	char byte;

	ck_assert_int_eq(kill(-python->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(python->pid, NULL, 0), python->pid);
	/* The tracker has the pipe, too. */
	ck_assert_int_eq(read(python->fd, &byte, 1), 0);
	(void)close(python->fd);
}
