/* hash.c - which binary is this, whatever its path says. */
#include "dgo_launch.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 256 * 1024, SHA256_BYTES = 32 };

/* Opens without waiting: a FIFO or a device in the place of a file must not hold us. */
static enum dgo_status open_regular(const char *path, int *fd, struct dgo_error *err)
{
    struct stat info;

    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0)
        return dgo_fail_errno(err, errno == ENOENT || errno == ENOTDIR ? DGO_ENOTFOUND : DGO_EIO,
                              errno, "cannot read \"%s\"", path);
    if (fstat(*fd, &info) < 0 || !S_ISREG(info.st_mode)) {
        close(*fd);
        *fd = -1;
        return dgo_fail(err, DGO_EINVAL, "\"%s\" is not a regular file", path);
    }
    return DGO_OK;
}

static enum dgo_status hash_pieces(int fd, gnutls_hash_hd_t hash, const char *path,
                                   struct dgo_error *err)
{
    unsigned char *piece = malloc(PIECE_BYTES);
    enum dgo_status status = DGO_OK;
    ssize_t got = 0;

    if (!piece)
        return dgo_fail(err, DGO_ENOMEM, "no memory to hash \"%s\"", path);
    do {
        got = read(fd, piece, PIECE_BYTES);
        if (got < 0 && errno != EINTR)
            status = dgo_fail_errno(err, DGO_EIO, errno, "cannot read \"%s\"", path);
        if (got > 0 && gnutls_hash(hash, piece, (size_t)got) < 0)
            status = dgo_fail(err, DGO_EIO, "cannot hash \"%s\"", path);
    } while (status == DGO_OK && got != 0);
    free(piece);
    return status;
}

static void to_hex(const unsigned char *digest, char hex[65])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < SHA256_BYTES; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * SHA256_BYTES] = '\0';
}

enum dgo_status dgo_bytes_hash(const void *bytes, size_t length, char hex[65],
                               struct dgo_error *err)
{
    unsigned char digest[SHA256_BYTES];

    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, length, digest) < 0)
        return dgo_fail(err, DGO_EUNSUPPORTED, "this GnuTLS does not offer SHA-256");
    to_hex(digest, hex);
    return DGO_OK;
}

enum dgo_status dgo_file_hash(const char *path, char hex[65], struct dgo_error *err)
{
    unsigned char digest[SHA256_BYTES];
    gnutls_hash_hd_t hash;
    int fd;
    enum dgo_status status = open_regular(path, &fd, err);

    if (status != DGO_OK)
        return status;
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0) {
        close(fd);
        return dgo_fail(err, DGO_EUNSUPPORTED, "this GnuTLS does not offer SHA-256");
    }
    status = hash_pieces(fd, hash, path, err);
    gnutls_hash_deinit(hash, digest);
    close(fd);
    if (status == DGO_OK)
        to_hex(digest, hex);
    return status;
}
