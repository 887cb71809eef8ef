/* privileges.c - see privileges.h. */
#include "privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache.h"
#include "log.h"
#include "units.h"

/* A number that can be a user's or a group's; 2^32 - 1 means none. */
static bool is_id(const char *text, uint32_t *id)
{
    int64_t number;
    bool good = units_number(text, &number) && number < UINT32_MAX;
    *id = good ? (uint32_t)number : UINT32_MAX;
    return good;
}

/* A user by name, or by number, who then must exist as well: its groups and home are needed. */
static const struct passwd *find_user(const char *text)
{
    uid_t number;
    const struct passwd *user = getpwnam(text);
    return user == NULL && is_id(text, &number) ? getpwuid(number) : user;
}

static bool find_group(const char *text, gid_t *gid)
{
    const struct group *group = getgrnam(text);
    if (group != NULL)
        *gid = group->gr_gid;
    return group != NULL || is_id(text, gid);
}

struct identity {
    const struct passwd *user; /* NULL: as before */
    gid_t group;
};

static bool wanted(const struct conf *conf)
{
    return conf->user[0] != '\0' || conf->group[0] != '\0';
}

static bool find(const struct conf *conf, struct identity *who)
{
    if (geteuid() != 0) {
        log_error("%suser and group need root; start leangate as root, or leave them out",
                  conf->user[0] != '\0' ? conf->user_place : conf->group_place);
        return false;
    }
    who->user = conf->user[0] != '\0' ? find_user(conf->user) : NULL;
    if (conf->user[0] != '\0' && who->user == NULL) {
        log_error("%sno user \"%s\" on this machine", conf->user_place, conf->user);
        return false;
    }
    who->group = who->user != NULL ? who->user->pw_gid : getegid();
    if (conf->group[0] != '\0' && !find_group(conf->group, &who->group)) {
        log_error("%sno group \"%s\" on this machine", conf->group_place, conf->group);
        return false;
    }
    return true;
}

bool privileges_take_group(const struct conf *conf)
{
    struct identity who;
    if (!wanted(conf))
        return true;
    if (!find(conf, &who))
        return false;
    if (who.user != NULL)
        log_hand_over(who.user->pw_uid, who.group);
    bool taken = setegid(who.group) == 0;
    if (!taken)
        log_error("cannot become a member of group %u: %s", (unsigned)who.group, strerror(errno));
    return taken;
}

bool privileges_drop(const struct conf *conf)
{
    struct identity who;
    if (!wanted(conf))
        return true;
    if (!find(conf, &who))
        return false;
    bool failed = false;
    if (who.user != NULL) { /* workers inherit it */
        failed = setenv("HOME", who.user->pw_dir, 1) == -1 || setenv("USER", who.user->pw_name, 1) == -1;
        cache_make(conf, who.user->pw_uid, who.group);
    }
    failed = failed ||
             (who.user != NULL ? initgroups(who.user->pw_name, who.group) == -1 : setgroups(0, NULL) == -1);
    failed = failed || setgid(who.group) == -1 || (who.user != NULL && setuid(who.user->pw_uid) == -1);
    if (failed)
        log_error("cannot become user \"%s\": %s", conf->user, strerror(errno));
    return !failed;
}
