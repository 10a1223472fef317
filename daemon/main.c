/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* segmentd's command line; and a worker, when that is the name it was started under. */
#include "config.h"

#include <getopt.h>

#include "base/base.h"
#include "conf/load.h"
#include "daemon/log.h"
#include "daemon/manager.h"
#include "daemon/rest.h"
#include "daemon/start.h"
#include "daemon/worker/job.h"

enum {
	EXIT_USAGE = 2
};

static const char usage[] =
    "Usage: segmentd [-c FILE] [--check] [--version] [--help]\n"
    "\n"
    "Keeps this server's shared memory: creates the segments that FILE and the segments.d beside\n"
    "it declare, and hands them to clients. Runs in the foreground.\n"
    "\n"
    "  -c, --config=FILE  the configuration (default: " SEGMENTD_CONF_FILE ")\n"
    "      --check        say what is wrong with the configuration, and exit\n"
    "      --version      print the version, and exit\n"
    "  -h, --help         print this, and exit\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage. See segmentd(8).\n";

static void
main_print_report(const struct conf_report *report)
{
	char line[2048];

	for (size_t i = 0; i < report->n_problems; i++) {
		(void)conf_problem_format(&report->problems[i], line, sizeof(line));
		log_write(MESSAGE_CONFIG_PROBLEM, NULL, "%s", line);
	}
	if (report->n_left_out)
		log_write(MESSAGE_CONFIG_PROBLEM, NULL, "%zu more problems were left out", report->n_left_out);
}

/* 0: it is valid. Else its problems have been logged. */
static int
main_load(const char *file, struct conf_report *report, struct conf **ret_conf)
{
	int r = conf_load(file, report, ret_conf);

	main_print_report(report);
	if (r < 0)
		log_write(MESSAGE_CONFIG_REFUSED, &(struct log_about) { .error = r }, "cannot load the configuration '%s'", file);
	return r;
}

static int
main_check(const char *file)
{
	struct conf_report report = CONF_REPORT_NULL;
	struct conf *conf = NULL;
	int r = main_load(file, &report, &conf);

	(void)conf_free(conf);
	conf_report_deinit(&report);
	return r;
}

/* Runs the daemon by the file; by what was kept of it, where it is what it was. */
static int
main_run(const char *file)
{
	struct conf_report report = CONF_REPORT_NULL;
	struct start start = START_NULL;
	struct conf *conf = NULL;
	int r = start_begin(&start, file);

	if (r == 0 && !start.conf) {
		report.origin = &start.origin;
		r = main_load(file, &report, &conf);
		if (r >= 0)
			r = start_init(&start, conf, &report);
	}
	conf_report_deinit(&report);
	if (r == 0)
		r = manager_run(&start);
	start_deinit(&start);
	return r;
}

int
main(int argc, char **argv)
{
	enum {
		OPTION_CHECK = 256,
		OPTION_VERSION
	};
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, OPTION_CHECK },
		{ "version", no_argument, NULL, OPTION_VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *file = SEGMENTD_CONF_FILE;
	bool check_only = false;
	int option, r;

	if (argc > 0 && streq(argv[0], JOB_ARGV0))
		return worker_main();
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			file = optarg;
			break;
		case OPTION_CHECK:
			check_only = true;
			break;
		case OPTION_VERSION:
			(void)puts(PACKAGE_STRING);
			return EXIT_SUCCESS;
		case 'h':
			(void)fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			(void)fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		(void)fprintf(stderr, "segmentd: unexpected argument '%s'\n%s", argv[optind], usage);
		return EXIT_USAGE;
	}
	log_open();
	if (!check_only)
		rest_init();
	r = check_only ? main_check(file) : main_run(file);
	if (r && !check_only)
		rest_before_failure();
	log_close();
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
