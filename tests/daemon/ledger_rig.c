/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <sys/stat.h>

#include "tests/daemon/ledger_rig.h"
#include "tests/daemon/spoil.h"

#define N_LOCKS		3		/* a definition and its reason take several rows */

struct ledger_rig rig;

/* Each field of row i is some of this. */
static uint64_t
mixed(unsigned i, unsigned field)
{
	return (i + 1) * UINT64_C(0x9e3779b97f4a7c15) + field;
}

static struct definition *
make_definition(unsigned i, unsigned version)
{
	struct definition *definition = definition_new();
	char text[32];

	ck_assert_ptr_nonnull(definition);
	(void)snprintf(text, sizeof(text), "s%u", i);
	definition->name = strdup(text);
	(void)snprintf(text, sizeof(text), "v%u", version);
	definition->layout = strdup(text);
	definition->size_bytes = definition->max_size_bytes = 65536;
	definition->prefault = true;
	definition->mode = 0600;
	definition->n_locks = N_LOCKS;
	definition->locks = calloc(N_LOCKS, sizeof(*definition->locks));
	for (unsigned lock = 0; lock < N_LOCKS; lock++) {
		(void)snprintf(text, sizeof(text), "l%u.%u", lock, version);
		definition->locks[lock] = (struct definition_lock) {
			.name = strdup(text), .offset_bytes = lock * UINT64_C(64), .length_bytes = 64, .on_death = DEFINITION_KEEP,
		};
	}
	return definition;
}

/* Writing */

static struct ledger_segment
make_segment(unsigned i)
{
	return (struct ledger_segment) {
		.generation = i, .cursor = mixed(i, 0), .map_bytes = mixed(i, 1), .data_inode = mixed(i, 2), .state = 2,
	};
}

int
rig_try_segment(struct ledger_segment_entry *entry, unsigned i, unsigned version)
{
	struct definition *definition = make_definition(i, version);
	const uint64_t node_bytes[] = { i, version };
	struct ledger_segment body = make_segment(i);
	char reason[300];
	int r;

	/* As long as its version is high. */
	memset(reason, 'a' + (int)(version % 26), sizeof(reason));
	reason[version * 20 % sizeof(reason)] = '\0';
	r = ledger_put_segment(&rig.ledger, entry, &body, &(struct ledger_texts) {
		.definition = definition, .template_name = "t%U", .reason = reason, .node_bytes = node_bytes, .n_nodes = 2,
	});
	(void)definition_unref(definition);
	return r;
}

void
rig_put_segment(struct ledger_segment_entry *entry, unsigned i, unsigned version)
{
	ck_assert_int_eq(rig_try_segment(entry, i, version), 0);
}

static struct ledger_lock
make_lock(unsigned i)
{
	return (struct ledger_lock) { .generation = i, .n_recoveries = mixed(i, 0), .recovered_ns = mixed(i, 1), .index = 1 };
}

void
rig_put_lock(struct ledger_entry *entry, unsigned i)
{
	const struct ledger_lock body = make_lock(i);

	ck_assert_int_eq(ledger_put_lock(&rig.ledger, entry, &body), 0);
}

static struct ledger_session
make_session(unsigned i)
{
	return (struct ledger_session) { .id = i, .process = mixed(i, 0), .serial = mixed(i, 1), .pid = (int32_t)i };
}

void
rig_put_session(struct ledger_entry *entry, unsigned i)
{
	const struct ledger_session body = make_session(i);

	ck_assert_int_eq(ledger_put_session(&rig.ledger, entry, &body), 0);
}

static struct ledger_attachment
make_attachment(unsigned i)
{
	return (struct ledger_attachment) { .generation = i, .process = mixed(i, 0), .session = i, .id = 7, .since_ns = mixed(i, 1) };
}

int
rig_try_attachment(struct ledger_entry *entry, unsigned i)
{
	const struct ledger_attachment body = make_attachment(i);

	return ledger_put_attachment(&rig.ledger, entry, &body);
}

void
rig_put_attachment(struct ledger_entry *entry, unsigned i)
{
	ck_assert_int_eq(rig_try_attachment(entry, i), 0);
}

/* Reading */

/* Which of its definitions it is, and that all of it is of that. */
static unsigned
check_texts(const struct ledger_texts *texts, unsigned i)
{
	unsigned version;
	char name[32];

	if (!texts->definition) {
		ck_assert(!texts->reason && !texts->template_name && !texts->n_nodes);
		return 0;
	}
	ck_assert_int_eq(sscanf(texts->definition->layout, "v%u", &version), 1);
	(void)snprintf(name, sizeof(name), "s%u", i);
	ck_assert_str_eq(texts->definition->name, name);
	ck_assert_uint_eq(texts->definition->n_locks, N_LOCKS);
	for (unsigned lock = 0; lock < N_LOCKS; lock++) {
		(void)snprintf(name, sizeof(name), "l%u.%u", lock, version);
		ck_assert_str_eq(texts->definition->locks[lock].name, name);
	}
	ck_assert_str_eq(texts->template_name, "t%U");
	ck_assert_uint_eq(texts->n_nodes, 2);
	ck_assert_uint_eq(texts->node_bytes[0], i);
	ck_assert_uint_eq(texts->node_bytes[1], version);
	ck_assert_uint_eq(strlen(texts->reason), version * 20 % 300);
	ck_assert_uint_eq(strspn(texts->reason, (char []) { (char)('a' + version % 26), '\0' }), strlen(texts->reason));
	ck_assert(!texts->growth_reason && !texts->note);
	return version;
}

static int
on_item(const struct ledger_item *item, void *arg)
{
	size_t n = rig.n[item->kind]++;
	uint64_t number = 0;

	ck_assert_uint_lt(n, RIG_MANY);
	switch (item->kind) {
	case LEDGER_SEGMENT: {
		struct ledger_segment expected = make_segment((unsigned)item->segment->generation);

		number = expected.generation;
		expected.texts = item->segment->texts;
		ck_assert_mem_eq(item->segment, &expected, sizeof(expected));
		rig.versions[n] = check_texts(&item->texts, (unsigned)number);
		break;
	}
	case LEDGER_LOCK: {
		struct ledger_lock expected = make_lock((unsigned)item->lock->generation);

		ck_assert_mem_eq(item->lock, &expected, sizeof(expected));
		number = expected.generation;
		break;
	}
	case LEDGER_SESSION: {
		struct ledger_session expected = make_session((unsigned)item->session->id);

		ck_assert_mem_eq(item->session, &expected, sizeof(expected));
		number = expected.id;
		break;
	}
	case LEDGER_ATTACHMENT: {
		struct ledger_attachment expected = make_attachment((unsigned)item->attachment->generation);

		ck_assert_mem_eq(item->attachment, &expected, sizeof(expected));
		number = expected.generation;
		break;
	}
	default:
		ck_abort_msg("kind %u", item->kind);
	}
	rig.numbers[item->kind][n] = number;
	/* Each kind after the one before. */
	for (unsigned kind = item->kind + 1; kind < LEDGER_KIND_N; kind++)
		ck_assert_uint_eq(rig.n[kind], 0);
	return 0;
}

static void
on_tell(const char *text, void *arg)
{
	size_t length = strlen(rig.told);

	(void)snprintf(rig.told + length, sizeof(rig.told) - length, "%s\n", text);
}

int
rig_open(void)
{
	memset(rig.n, 0, sizeof(rig.n));
	rig.told[0] = '\0';
	return ledger_open(&rig.ledger, rig.dir, NULL, on_item, on_tell, NULL, rig.text, sizeof(rig.text));
}

void
rig_must_open(void)
{
	int r = rig_open();

	ck_assert_msg(r == 0, "%s", rig.text);
}

void
rig_must_commit(void)
{
	int r = ledger_commit(&rig.ledger, rig.text, sizeof(rig.text));

	ck_assert_msg(r == 0, "%s", rig.text);
}

/* What a killed one leaves of itself is nothing but the file. */
void
rig_forget(void)
{
	free(rig.ledger.links);
	free(rig.ledger.gathered);
	free(rig.ledger.state_dir);
	close_fd(&rig.ledger.fd);
	close_fd(&rig.ledger.dir_fd);
	rig.ledger = (struct ledger) LEDGER_NULL;
}

void
rig_look(void)
{
	rig_must_open();
	ledger_close(&rig.ledger);
}

void
rig_begin(void)
{
	(void)strcpy(rig.dir, "/tmp/segmentd-ledger-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(rig.dir));
	(void)snprintf(rig.path, sizeof(rig.path), "%s/" LEDGER_FILE, rig.dir);
	rig_must_open();
	rig_must_commit();
}

unsigned
rig_end(void)
{
	char begun[sizeof(rig.dir) + sizeof(LEDGER_NEW_FILE)];
	bool has_begun;

	(void)snprintf(begun, sizeof(begun), "%s/" LEDGER_NEW_FILE, rig.dir);
	has_begun = access(begun, F_OK) == 0;
	return spoil_end(rig.dir, LEDGER_FILE) - has_begun;
}

/* The file */

void
rig_poke(size_t at, const void *bytes, size_t length)
{
	spoil_write(rig.path, at, bytes, length);
}

void
rig_peek(size_t at, void *bytes, size_t length)
{
	spoil_read(rig.path, at, bytes, length);
}

size_t
rig_file_bytes(void)
{
	struct stat st;

	ck_assert_int_eq(stat(rig.path, &st), 0);
	return (size_t)st.st_size;
}

void
rig_expect_told(const char *words)
{
	ck_assert_msg(strstr(rig.told, words), "'%s' is not in '%s'", words, rig.told);
}
