/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Drives a fuzz target where libFuzzer is not: a test that gives the target each input of its corpus; and with -t SECONDS a plain
 * fuzzer, which changes those at random and goes on with what it has made, since it cannot see what code an input reaches.
 *
 *	check_NAME [-t SECONDS] [-s SEED] [-o FILE] [FILE | DIRECTORY]...
 *
 * Without files: the corpus of the target's own name. An input that ends the process is written to FILE, "crash-NAME" by default;
 * one that takes longer than a minute counts as well. Every figure of a run is of this one process.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_SECONDS	120	/* that one may take at most, on a machine that does much besides, or stands still for a while */
#define GENERATION_MAX	8	/* changes on top of each other before it begins with the corpus again */
#define KEPT_MAX	256	/* inputs of its own that it goes on from */

/* Where the corpora are; a test's own build says so. */
#ifndef FUZZ_CORPUS
#define FUZZ_CORPUS	"tests/fuzz/corpus"
#endif

/* A target may change inputs itself, as it does for libFuzzer; and asks for what is done without any knowledge. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) __attribute__((weak));
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
/* What a sanitizer calls before it ends the process. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

struct input {
	uint8_t *bytes;
	size_t size;
};

static struct input *inputs;
static size_t n_inputs, n_corpus;
static struct input current;
static char crash_path[4096];
static uint64_t random_state = 88172645463325252;

static uint64_t
random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static size_t
random_below(size_t n)
{
	return n ? (size_t)(random_next() % n) : 0;
}

/* Async-signal-safe: it runs in the handlers of what ends the process. */
static void
keep_current(void)
{
	static const char kept[] = "the input is in ";
	int fd;

	if (!current.bytes)
		return;
	fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, current.bytes, current.size) < 0)
		return;
	(void)close(fd);
	(void)!write(STDERR_FILENO, kept, sizeof(kept) - 1);
	(void)!write(STDERR_FILENO, crash_path, strlen(crash_path));
	(void)!write(STDERR_FILENO, "\n", 1);
	current.bytes = NULL;
}

static void
on_signal(int signal_number)
{
	keep_current();
	(void)signal(signal_number == SIGALRM ? SIGABRT : signal_number, SIG_DFL);
	(void)raise(signal_number == SIGALRM ? SIGABRT : signal_number);
}

static void
watch(void)
{
	static const int signals[] = { SIGABRT, SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(signals); i++) {
		/* The sanitizers' own handlers say more, and call us. */
		if (i >= 2 && __sanitizer_set_death_callback)
			continue;
		(void)signal(signals[i], on_signal);
	}
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(keep_current);
}

static void
run_one(const struct input *input)
{
	/* A copy of exactly its size: what reads past its end is seen. */
	uint8_t *copy = malloc(input->size ? input->size : 1);

	fuzz_check(copy);
	if (input->size)
		memcpy(copy, input->bytes, input->size);
	current = (struct input) { .bytes = copy, .size = input->size };
	(void)alarm(INPUT_SECONDS);
	fuzz_check(LLVMFuzzerTestOneInput(copy, input->size) == 0);
	(void)alarm(0);
	current.bytes = NULL;
	free(copy);
}

static void
add_input(const uint8_t *bytes, size_t size)
{
	inputs = realloc(inputs, (n_inputs + 1) * sizeof(*inputs));
	fuzz_check(inputs);
	inputs[n_inputs].bytes = malloc(size + 1);
	fuzz_check(inputs[n_inputs].bytes);
	memcpy(inputs[n_inputs].bytes, bytes, size);
	inputs[n_inputs++].size = size;
}

static void
read_file(const char *path)
{
	static uint8_t bytes[1 << 20];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));

	fuzz_check_msg(n >= 0, "%s: %s", path, strerror(errno));
	(void)close(fd);
	add_input(bytes, (size_t)n);
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In the order of their names, so that a run is the same as the one before. */
static void
read_directory(const char *path)
{
	DIR *stream = opendir(path);
	struct dirent *entry;
	char **names = NULL;
	size_t n = 0;

	fuzz_check_msg(stream, "%s: %s", path, strerror(errno));
	while ((entry = readdir(stream))) {
		if (entry->d_name[0] == '.')
			continue;
		names = realloc(names, (n + 1) * sizeof(*names));
		fuzz_check(names && asprintf(&names[n], "%s/%s", path, entry->d_name) > 0);
		n++;
	}
	(void)closedir(stream);
	if (n)
		qsort(names, n, sizeof(*names), compare_names);
	for (size_t i = 0; i < n; i++) {
		read_file(names[i]);
		free(names[i]);
	}
	free(names);
}

static void
read_inputs(const char *path)
{
	struct stat status;

	fuzz_check_msg(stat(path, &status) == 0, "%s: %s", path, strerror(errno));
	if (S_ISDIR(status.st_mode))
		read_directory(path);
	else
		read_file(path);
}

/* Moves what stands behind cut bytes at a place, and puts length others there. The new size. */
static size_t
replace(uint8_t *data, size_t size, size_t at, size_t cut, const uint8_t *bytes, size_t length, size_t max_size)
{
	cut = (size_t)min_u64(cut, size - at);
	if (size - cut + length > max_size)
		return size;
	memmove(data + at + length, data + at + cut, size - at - cut);
	memcpy(data + at, bytes, length);
	return size - cut + length;
}

size_t
LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
	static const uint64_t numbers[] = { 0, 1, 2, 7, 8, 15, 16, 63, 64, 127, 128, 255, 256, 4095, 4096, INT32_MAX, UINT32_MAX,
		UINT32_MAX - 1, (uint64_t)INT64_MAX, UINT64_MAX };
	const struct input *other = n_inputs ? &inputs[random_below(n_inputs)] : NULL;
	size_t at = random_below(size + 1), length;
	uint8_t bytes[64] = { 0 };

	switch (random_below(7)) {
	case 0:
		if (at < size)
			data[at] ^= (uint8_t)(1 << random_below(8));
		return size;
	case 1:
		if (at < size)
			data[at] = (uint8_t)random_next();
		return size;
	case 2:
		length = (size_t)1 << random_below(4);
		memcpy(bytes, &numbers[random_below(BASE_ARRAY_SIZE(numbers))], sizeof(numbers[0]));
		return replace(data, size, at, random_below(2) ? length : 0, bytes, length, max_size);
	case 3:
		return replace(data, size, at, 1 + random_below(32), bytes, 0, max_size);
	case 4:
		length = random_below(sizeof(bytes));
		length = (size_t)min_u64(length, size - at);
		memcpy(bytes, data + at, length);
		return replace(data, size, random_below(size + 1), 0, bytes, length, max_size);
	case 5:
		if (!other || !other->size)
			return size;
		length = random_below(other->size);
		return replace(data, size, at, random_below(2) ? length : 0, other->bytes + random_below(other->size - length), length,
		    max_size);
	default:
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)random_next();
		return replace(data, size, at, 0, bytes, 1 + random_below(8), max_size);
	}
}

static size_t
change(uint8_t *data, size_t size, size_t max_size)
{
	if (LLVMFuzzerCustomMutator)
		return LLVMFuzzerCustomMutator(data, size, max_size, (unsigned)random_next());
	return LLVMFuzzerMutate(data, size, max_size);
}

static uint64_t
fuzz_for(unsigned seconds)
{
	uint64_t end = clock_realtime_ns() + seconds * NS_PER_SEC, n = 0;
	uint8_t *data = malloc(FUZZ_INPUT_MAX);

	fuzz_check(data && n_inputs);
	for (; clock_realtime_ns() < end; n++) {
		const struct input *from = &inputs[random_below(n_inputs)];
		size_t size = (size_t)min_u64(from->size, FUZZ_INPUT_MAX);

		memcpy(data, from->bytes, size);
		for (size_t i = 1 + random_below(GENERATION_MAX); i > 0; i--)
			size = change(data, size, FUZZ_INPUT_MAX);
		run_one(&(struct input) { .bytes = data, .size = size });
		if (random_below(64))
			continue;
		/* Now and then one of its own is what others are made of, in the place of an earlier one. */
		if (n_inputs >= n_corpus + KEPT_MAX) {
			free(inputs[n_corpus].bytes);
			memmove(&inputs[n_corpus], &inputs[n_corpus + 1], (n_inputs - n_corpus - 1) * sizeof(*inputs));
			n_inputs--;
		}
		add_input(data, size);
	}
	free(data);
	return n;
}

/* "check_wire" is the target "wire", also where libtool's wrapper has another program behind it. */
static const char *
target_name(const char *program)
{
	const char *name = strrchr(program, '/');

	name = name ? name + 1 : program;
	if (strncmp(name, "lt-", 3) == 0)
		name += 3;
	return strncmp(name, "check_", 6) == 0 ? name + 6 : name;
}

int
main(int argc, char **argv)
{
	uint64_t start_ns, n_executed;
	unsigned seconds = 0;
	char corpus[4096];
	const char *name;
	int option;

	(void)LLVMFuzzerInitialize(&argc, &argv);
	name = target_name(argv[0]);
	(void)snprintf(corpus, sizeof(corpus), FUZZ_CORPUS "/%s", name);
	(void)snprintf(crash_path, sizeof(crash_path), "crash-%s", name);
	while ((option = getopt(argc, argv, "t:s:o:")) != -1) {
		if (option == 't')
			seconds = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 's')
			random_state = strtoull(optarg, NULL, 10) * 2 + 1;
		else if (option == 'o')
			(void)snprintf(crash_path, sizeof(crash_path), "%s", optarg);
		else
			return 2;
	}
	for (int i = optind; i < argc; i++)
		read_inputs(argv[i]);
	if (optind == argc)
		read_inputs(corpus);
	watch();
	start_ns = clock_realtime_ns();
	n_corpus = n_inputs;
	for (size_t i = 0; i < n_corpus; i++)
		run_one(&inputs[i]);
	n_executed = n_corpus + (seconds ? fuzz_for(seconds) : 0);
	(void)printf("%s: %ju executions in %ju ms, %zu of them the corpus's\n", name, (uintmax_t)n_executed,
	    (uintmax_t)((clock_realtime_ns() - start_ns) / NS_PER_MS), n_corpus);
	for (size_t i = 0; i < n_inputs; i++)
		free(inputs[i].bytes);
	free(inputs);
	return 0;
}
