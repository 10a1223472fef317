/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * From the daemon's answer to mapped memory, and back. What the daemon says of a segment is checked against the object itself
 * before it is mapped, so that no store through the mapping can be a SIGBUS.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "client/answer.h"
#include "client/lock.h"

#define ALIGNMENT_MAX		GIB

#ifndef PIDFD_GET_IPC_NAMESPACE
#define PIDFD_GET_IPC_NAMESPACE	_IO(0xff, 2)	/* COMPAT(linux 6.11): older kernels know no such request */
#endif

uint32_t
answer_access(unsigned flags)
{
	return PROTOCOL_ACCESS_READ | (flags & SEGMENT_WRITE ? PROTOCOL_ACCESS_WRITE : 0);
}

/* Tells the daemon that an attachment is over. If nobody is there to be told, the kernel will. */
static void
send_detach(struct segment_client *client, uint64_t epoch, uint32_t attachment, uint64_t generation)
{
	struct protocol_detach request = { .attachment = attachment, .generation = generation };

	client_post_same(client, epoch, PROTOCOL_DETACH, &request.header, sizeof(request));
}

static const char too_small[] = "its memory object is smaller than what is to be mapped";

/* What is wrong with the memory of an answer, or NULL: no store through a mapping of it is a SIGBUS then. */
static const char *
object_fault(const struct answer *answer)
{
	const struct protocol_attached *attached = &answer->attached;
	struct stat st;

	if (fstat(*answer->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return "its fd is no memory object";
	if (attached->flags & PROTOCOL_ATTACHED_SHM)
		return attached->shm_id < 0 ? "its id of System V memory is none" : NULL;
	/* A file may end within its last page, which is mapped whole. */
	if (round_up((uint64_t)st.st_size, (uint64_t)sysconf(_SC_PAGESIZE)) < attached->map_bytes)
		return too_small;
	return NULL;
}

/* Of what has a name in a file system nobody can keep those who may write it from cutting it short. */
static bool
has_name(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_nlink > 0;
}

/* What is wrong with an answer, or NULL. */
static const char *
answer_fault(const struct answer *answer, uint32_t access)
{
	const struct protocol_attached *attached = &answer->attached;

	if (*answer->fd < 0)
		return "no fd came with it";
	if (attached->size_bytes == 0 || attached->size_bytes > attached->map_bytes)
		return "its size is none, or more than what is to be mapped";
	if (attached->map_bytes > PTRDIFF_MAX - ALIGNMENT_MAX)
		return "its size is more than an address space";
	if (attached->alignment_bytes == 0 || (attached->alignment_bytes & (attached->alignment_bytes - 1)) ||
	    attached->alignment_bytes > ALIGNMENT_MAX)
		return "its alignment is no power of two up to 1 GiB";
	if (attached->access != access)
		return "its access is not the one that was asked for";
	return object_fault(answer);
}

/* The inode of this process's IPC namespace; 0: nobody says. Containers may have no /proc. */
static uint64_t
own_ipc_namespace(void)
{
	cleanup_close int pidfd = -1, fd = -1;
	struct stat st;

	if (stat("/proc/self/ns/ipc", &st) == 0)
		return st.st_ino;
	pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	fd = pidfd < 0 ? -1 : ioctl(pidfd, PIDFD_GET_IPC_NAMESPACE, 0);
	return fd >= 0 && fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* Whether an id means here what it means to the daemon. 0 or a negative errno with this thread's sentence set. */
static int
check_namespace(const struct protocol_attached *attached)
{
	uint64_t own;

	if (!attached->ipc_namespace || (own = own_ipc_namespace()) == attached->ipc_namespace)
		return 0;
	if (!own)
		return error_set(-EXDEV, "the segment is System V memory of the daemon's IPC namespace, and without /proc nobody can "
		    "tell whether this process is in the same: mount it, or have the segment of another backend");
	return error_set(-EXDEV, "the segment is System V memory of the daemon's IPC namespace, and this process is in another "
	    "one: run it in the same (a container: --ipc=host), or have the segment of another backend");
}

/*
 * Whether System V memory is what the daemon means by its id, and can be had. Another IPC namespace has the same ids for
 * something else. It was made by who made its stand-in. 0 or a negative errno with this thread's sentence set; what is wrong with
 * the answer itself: *ret_fault, and -EPROTO.
 */
static int
check_shm(const struct answer *answer, struct mapping *mapping, const char **ret_fault)
{
	const struct protocol_attached *attached = &answer->attached;
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	struct shmid_ds shm;
	struct stat st;
	int r;

	r = check_namespace(attached);
	if (r)
		return r;
	if (shmctl(attached->shm_id, IPC_STAT, &shm) < 0) {
		if (errno == EACCES)
			return error_set(-EACCES, "the kernel refuses System V memory %d: its group and mode do not let this process have "
			    "it, or it is being removed", attached->shm_id);
		if (errno == EINVAL || errno == EIDRM)
			return error_set(-ESTALE, "System V memory %d is gone: the segment was removed meanwhile", attached->shm_id);
		return error_set(-errno, "asking for System V memory %d failed: %s", attached->shm_id, strerrordesc_np(errno));
	}
	/* An id is given anew: who waits for long enough, or has it wait, attaches what somebody else has made since. */
	if (fstat(mapping->fd, &st) < 0 || fcntl(mapping->fd, F_GET_SEALS) < 0 || shm.shm_perm.cuid != st.st_uid)
		return error_set(-ESTALE, "System V memory %d is gone: what has its id now was made by uid %u, and not by the daemon",
		    attached->shm_id, (unsigned)shm.shm_perm.cuid);
	mapping->shm_uid = st.st_uid;
	/* All of it is attached, whatever was said: neither less nor more. */
	if (round_up(shm.shm_segsz, page_bytes) != round_up(attached->map_bytes, page_bytes)) {
		*ret_fault = "its System V memory is not of the size that is to be mapped";
		return -EPROTO;
	}
	return 0;
}

/* Receives nothing that takes the place of a standard stream, which the program may have closed. */
static int
move_fd(int *fd)
{
	int moved;

	if (*fd >= 3)
		return 0;
	moved = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
	if (moved < 0)
		return error_set(-errno, "no file descriptor above 2 is left: %s", strerrordesc_np(errno));
	(void)close(*fd);
	*fd = moved;
	return 0;
}

static struct lock_answer
locks_of(const struct answer *answer)
{
	return (struct lock_answer){
		.attached = &answer->attached, .rows = answer->rows, .rows_bytes = answer->rows_bytes,
		.fd = *answer->control_fd,
	};
}

static void
segment_free(struct segment *segment, bool is_mapped)
{
	if (segment->stand_in && is_mapped)
		(void)munmap(segment->stand_in, (size_t)sysconf(_SC_PAGESIZE));
	close_fd(&segment->fd);
	close_fd(&segment->control_fd);
	free(segment);
}

/* Makes a handle of a checked answer. *ret_fault: what turned out to be wrong with that, and the error is -EPROTO. */
static int
make_segment(struct segment_client *client, const char *name, const struct answer *answer, unsigned flags,
    struct segment **ret_segment, const char **ret_fault)
{
	const struct protocol_attached *attached = &answer->attached;
	struct lock_answer locks = locks_of(answer);
	struct mapping mapping = {
		.map_bytes = attached->map_bytes,
		.populate_bytes = flags & SEGMENT_POPULATE ? attached->size_bytes : 0,
		.alignment_bytes = attached->alignment_bytes,
		.write = flags & SEGMENT_WRITE,
		.dontfork = flags & SEGMENT_DONTFORK,
		.dontdump = attached->flags & PROTOCOL_ATTACHED_DONTDUMP,
		.is_shm = attached->flags & PROTOCOL_ATTACHED_SHM,
		.shm_id = attached->shm_id,
	};
	struct segment *segment = malloc(sizeof(*segment));
	int r;

	if (!segment)
		return error_set(-ENOMEM, "memory ran out");
	*segment = (struct segment){
		.client = client, .size_bytes = attached->size_bytes, .map_bytes = attached->map_bytes,
		.generation = attached->generation, .epoch = answer->epoch, .forks = client_forks(),
		.attachment = attached->attachment, .dontfork = mapping.dontfork, .is_shm = mapping.is_shm,
		.shm_id = mapping.is_shm ? mapping.shm_id : -1, .fd = take_fd(answer->fd),
		.is_file = attached->flags & PROTOCOL_ATTACHED_FILE, .control_fd = -1,
	};
	r = move_fd(&segment->fd);
	if (r < 0)
		goto fail;
	mapping.fd = segment->fd;
	if (mapping.is_shm && ((r = mapping_stand_in(&mapping, &segment->stand_in)) < 0 ||
	    (r = check_shm(answer, &mapping, ret_fault)) < 0))
		goto fail;
	r = mapping_new(&mapping, &segment->data);
	if (r < 0)
		goto fail;
	r = lock_table_new(client, name, &locks, &mapping, segment, ret_fault);
	if (r < 0)
		goto fail_table;
	if (segment->n_locks) {
		/* It works without. */
		segment->control_fd = take_fd(answer->control_fd);
		if (move_fd(&segment->control_fd) < 0)
			close_fd(&segment->control_fd);
		lock_list_add(segment);
	}
	growth_add(segment);
	returns_add(segment);
	*ret_segment = segment;
	return 0;
fail_table:
	lock_table_free(segment, true);
	(void)munmap(segment->data, segment->map_bytes);
fail:
	segment_free(segment, true);
	return r;
}

int
answer_disbelieve(struct segment_client *client, uint64_t epoch, const char *name, const char *fault)
{
	client_drop(client, epoch);
	return error_set(-EPROTO, "the daemon's answer for segment '%s' cannot be right: %s; the connection was closed", name,
	    fault);
}

void
answer_give_back(struct segment_client *client, const struct answer *answer)
{
	send_detach(client, answer->epoch, answer->attached.attachment, answer->attached.generation);
}

int
answer_take(struct segment_client *client, const char *name, const struct answer *answer, unsigned flags,
    struct segment **ret_segment)
{
	struct lock_answer locks = locks_of(answer);
	const char *fault = answer_fault(answer, answer_access(flags));
	int r = 0;

	if (fault == too_small && has_name(*answer->fd)) {
		answer_give_back(client, answer);
		return error_set(-EIO, "the memory of segment '%s' was cut short by a program that may write it", name);
	}
	if (!fault)
		fault = lock_answer_fault(&locks);
	if (!fault)
		r = make_segment(client, name, answer, flags, ret_segment, &fault);
	if (fault)
		return answer_disbelieve(client, answer->epoch, name, fault);
	if (r < 0)
		answer_give_back(client, answer);
	return r;
}

/* Whether this process has the mapping: a forked child may not. */
static bool
is_mapped(const struct segment *segment)
{
	return !segment->dontfork || segment->forks == client_forks();
}

int
segment_detach(struct segment *segment)
{
	uint64_t epoch;
	int r = 0;

	if (!segment)
		return 0;
	epoch = returns_remove(segment);
	growth_remove(segment);
	if (segment->n_locks) {
		/* First, while the end of a thread that has one of its locks still waits for this. */
		lock_end_all(segment);
		lock_list_remove(segment);
		lock_table_free(segment, is_mapped(segment));
	}
	/* What is not ours to unmap may be somebody else's mapping by now. */
	if (is_mapped(segment) && munmap(segment->data, segment->map_bytes) < 0)
		r = error_set(-errno, "unmapping the segment failed: %s", strerrordesc_np(errno));
	if (segment->stand_in && is_mapped(segment))
		(void)munmap(take_ptr(segment->stand_in), (size_t)sysconf(_SC_PAGESIZE));
	close_fd(&segment->fd);
	close_fd(&segment->control_fd);
	/* Last, since the daemon asks the kernel when it hears of it. A child's attachment is its parent's. */
	if (segment->forks == client_forks())
		send_detach(segment->client, epoch, segment->attachment, segment->generation);
	segment_free(segment, false);
	return r;
}

void *
segment_data(const struct segment *segment)
{
	return segment && is_mapped(segment) ? segment->data : NULL;
}

size_t
segment_size(const struct segment *segment)
{
	return segment ? atomic_load_explicit(&segment->size_bytes, memory_order_acquire) : 0;
}

int
segment_fd(const struct segment *segment)
{
	return segment && !segment->is_shm ? segment->fd : -1;
}

int
segment_shm_id(const struct segment *segment)
{
	return segment ? segment->shm_id : -1;
}

int
segment_sync(struct segment *segment)
{
	int r;

	if (!segment)
		return error_set(-EINVAL, "segment_sync: the segment is missing (NULL)");
	if (!segment->is_file)
		return error_set(-EINVAL, "the segment is memory, and no file: there is no disk that it could be written to");
	do
		r = fdatasync(segment->fd) ? -errno : 0;
	while (r == -EINTR);
	return r ? error_set(r, "not all of the segment could be written to the disk: %s", strerrordesc_np(-r)) : 0;
}

uint64_t
segment_generation(const struct segment *segment)
{
	return segment ? segment->generation : 0;
}
