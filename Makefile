# leangate: one Makefile, not recursive. Everything it makes is in build/; `make help` lists the targets.
#
# Variants stand side by side: build/ (release), build/san/ and build/pysan/ (ASan + UBSan: the program, whose objects the unit
# tests link, too, and the worker) and build/static/ (STATIC=1). CFLAGS, CPPFLAGS, LDFLAGS and CC are the user's; what the code
# needs is kept apart from them.

PREFIX     ?= /usr/local
# The program finds its worker in ../lib/leangate: these two stay together.
bindir      = $(PREFIX)/bin
libdir      = $(PREFIX)/lib/leangate
datadir    ?= $(PREFIX)/share/leangate
mandir     ?= $(PREFIX)/share/man
sysconfdir ?= $(PREFIX)/etc/leangate
completionsdir ?= $(PREFIX)/share/bash-completion/completions

PYTHON     ?= python3
CFLAGS     ?= -O2 -g
CPPFLAGS   ?= -D_FORTIFY_SOURCE=2
WERROR     ?= -Werror
INSTALL    ?= install
CLANG      ?= clang
MUSL       ?= musl-gcc -idirafter /usr/include -idirafter /usr/include/$(shell $(CC) -print-multiarch)
JOBS       ?= $(shell nproc)

# --- what is made of what ----------------------------------------------------------------------------------------

# What runs while nothing happens. It is linked first, with libev: so it stands beside the table of calls into libc, and an
# idle gateway keeps few pages of its text (the kernel maps 16 of them around one that is touched).
IDLE    = gateway_loop gateway_end notify timeq task epoll memory log
# The rest of the program, by level (docs/ARCHITECTURE.md): from the command line down to the leaves.
GATEWAY = main profile warm gateway gateway_apps banner privileges reload listener \
          conn conn_proxy conn_head conn_body conn_answer conn_state \
          router status status_json status_metrics status_page status_view \
          app app_outcome app_supply app_state succession fleet tell roster \
          ignored remote queue worker_slots worker upstream upstream_answer upstream_state file file_find redirect script access \
          client encode cgi_reply cgi cgi_rows request file_rules launch command cache spawn prefetch \
          backoff control output reaper forwarded forwarded_hop proxy_protocol http_chunked http_head http_path \
          http_reply http_date file_open file_type body worker_fsm \
          json tail library safe_open buf net inherit proc stats
FCGI    = fcgi_client fcgi_record
CONFIG  = config load options argument environment reader sections value check check_app finish kind dump help table env_file python \
          suggest network units arena

# The worker: a CPython extension and the Python around it.
PYWORKER_C  = module inherit core threads peer conn preset record buffer wsgi environ names exchange input responder field head answer \
              output file_wrapper handles control release script script_head pump spool unnamed zygote holes reload \
              asgi selector call scope awaitable receive send reply waiter upload
PYWORKER_PY = __init__ __main__ asgi asgi_file bytecode end fail files importcache importrecord profile trace listen live load private rehearse scripts zygote reload

# Each unit test and all that it may link: an extra need is a link error, that is a layer leak.
UNIT_buf           = gateway/buf
UNIT_task          = gateway/task
UNIT_tail          = gateway/tail gateway/buf
UNIT_stats         = gateway/stats gateway/tail gateway/buf
UNIT_json          = gateway/json gateway/buf
UNIT_body          = gateway/body gateway/buf
UNIT_worker_fsm    = gateway/worker_fsm
UNIT_control       = gateway/control gateway/memory
UNIT_timeq         = gateway/timeq gateway/task
UNIT_LIBS_timeq    = -Wl,--wrap=calloc -Wl,--wrap=clock_gettime -l:libev.a -lm
UNIT_fleet         = gateway/fleet gateway/timeq gateway/task
UNIT_LIBS_fleet    = -l:libev.a -lm
UNIT_backoff       = gateway/backoff gateway/timeq gateway/task
UNIT_LIBS_backoff  = -l:libev.a -lm
UNIT_cache         = gateway/cache gateway/file_open gateway/safe_open
UNIT_router        = gateway/router
UNIT_http_head     = gateway/http_head gateway/http_path
UNIT_forwarded     = gateway/forwarded gateway/forwarded_hop gateway/http_head config/network config/units
UNIT_proxy_protocol = gateway/proxy_protocol config/network config/units
UNIT_http_chunked  = gateway/http_chunked
UNIT_http_reply    = gateway/http_reply gateway/http_date gateway/buf
UNIT_cgi           = gateway/cgi gateway/cgi_rows gateway/forwarded gateway/forwarded_hop config/network config/units gateway/cgi_reply gateway/http_head gateway/http_path gateway/http_reply gateway/http_date gateway/buf fcgi/fcgi_record
UNIT_http_date     = gateway/http_date
UNIT_file_open     = gateway/file_open
UNIT_file_rules    = gateway/file_rules gateway/file_type gateway/http_date gateway/http_head gateway/http_path gateway/http_reply gateway/buf
UNIT_fcgi_record   = fcgi/fcgi_record
UNIT_fcgi_client   = fcgi/fcgi_client
UNIT_log           = gateway/log gateway/safe_open gateway/json gateway/stats gateway/tail gateway/buf
UNIT_LIBS_log      = -l:libev.a -lm
UNIT_units         = config/units
UNIT_network       = config/network config/units
UNIT_suggest       = config/suggest

# What goes through conf_load needs all of config/.
conf_tests = conf conf_cache conf_origin conf_files conf_layers conf_dump conf_python conf_kind env_file
$(foreach t,$(conf_tests),$(eval UNIT_$(t) = $(CONFIG:%=config/%))$(eval UNIT_LIBS_$(t) = -l:libinih.a))

# Each fuzz target, likewise.
FUZZ_http_head     = gateway/http_head gateway/http_path
FUZZ_http_chunked  = gateway/http_chunked
FUZZ_forwarded     = gateway/forwarded gateway/forwarded_hop gateway/http_head config/network config/units
FUZZ_http_date     = gateway/http_date
FUZZ_file_rules    = gateway/file_rules gateway/http_date gateway/http_head gateway/http_reply gateway/buf
FUZZ_proxy_protocol = gateway/proxy_protocol config/network config/units
FUZZ_cgi_params    = gateway/cgi gateway/cgi_rows gateway/forwarded gateway/forwarded_hop config/network config/units gateway/http_head gateway/http_path gateway/http_reply gateway/http_date gateway/buf fcgi/fcgi_record
FUZZ_cgi_reply     = gateway/cgi_reply gateway/http_head gateway/http_reply gateway/http_date gateway/buf
FUZZ_fcgi_client   = fcgi/fcgi_client
FUZZ_conf          = $(CONFIG:%=config/%)
FUZZ_LIBS_conf     = -l:libinih.a

# --- flags ---------------------------------------------------------------------------------------------------------

warnings = -Wall -Wextra $(WERROR) -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
           -Wformat=2 -Wvla
# 64: a file of 2 GB and the year 2038 on a 32-bit machine.
must_cflags   = -std=gnu11 -D_GNU_SOURCE= -D_FILE_OFFSET_BITS=64 -D_TIME_BITS=64 -ffunction-sections -fdata-sections $(warnings) -Igateway -Ifcgi -Iconfig -MMD -MP
must_libs     = -Wl,--wrap=epoll_wait -l:libev.a -l:libinih.a -lm
harden_cflags = -fPIE -fstack-protector-strong -fno-asynchronous-unwind-tables
harden_ldflags = -Wl,-z,relro,-z,now -Wl,--gc-sections
san_cflags    = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
py_cflags     = -std=gnu11 $(warnings) -fPIC -fvisibility=hidden -fstack-protector-strong -DPy_LIMITED_API=0x03080000 -MMD -MP
py_ldflags    = -shared -pthread -Wl,-z,relro,-z,now

# Asked once, and only when the worker is compiled.
py_includes = $(eval py_includes := $(shell $(PYTHON)-config --includes))$(py_includes)
fcgi_cflags = $(eval fcgi_cflags := $(shell pkg-config --cflags fcgi))$(fcgi_cflags)
fcgi_libs   = $(eval fcgi_libs := $(shell pkg-config --libs fcgi))$(fcgi_libs)

# Lengths come from the wire here: no silent conversion.
wire_objects = $(FCGI:%=fcgi/%) $(filter gateway/http_% gateway/forwarded% gateway/proxy_%,$(GATEWAY:%=gateway/%))

B = build
Q = $(if $(V),,@)
say = $(if $(V),@:,@printf '  %-8s %s\n' $(1) $(2))

program_objects = $(IDLE:%=gateway/%) $(CONFIG:%=config/%) $(FCGI:%=fcgi/%) $(GATEWAY:%=gateway/%)
worker          = $(B)/pyworker/_pyworker.abi3.so $(PYWORKER_PY:%=$(B)/pyworker/%.py)
pysan           = $(worker:$(B)/%=$(B)/pysan/%)
program         = $(if $(STATIC),$(B)/static/leangate,$(B)/leangate)
unit_tests      = $(sort $(patsubst UNIT_%,%,$(filter-out UNIT_LIBS_%,$(filter UNIT_%,$(.VARIABLES)))))
test_programs   = $(B)/test/libhttp_head.so $(B)/test/libfaults.so $(B)/torture/leangate
fuzz_targets    = $(sort $(patsubst FUZZ_%,%,$(filter-out FUZZ_LIBS_%,$(filter FUZZ_%,$(.VARIABLES)))))

replays         = $(fuzz_targets:%=$(B)/replay/fuzz_%)

benches         = bench-memory bench-warm bench-pace bench-curves bench-density bench-lazy bench-front bench-slow bench-life bench-script \
                  bench-worker bench-containers bench-report

.DEFAULT_GOAL = all
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.PHONY: all run test test-unit test-corpus check-libfcgi lint fmt fmt-check install uninstall clean help fuzz bench bench-cold \
        bench-needs bench-peers bench-venvs $(benches) \
        valgrind torture san musl-objects FORCE

# --- targets -------------------------------------------------------------------------------------------------------

all: $(program) $(worker) ## build the program and the worker (STATIC=1: build/static/leangate; V=1: show commands)

run: ## install what is missing, build, and serve ./gateway.ini in the foreground
	@tests/support/need-packages build
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@exec $(program)

test: ## install what the tests need, build everything, with ASan and UBSan, too, run all tests (T=pattern: only those of the Python tests)
	@tests/support/need-packages build test
	@tests/support/need-servers $(B)/servers
	@tests/support/need-venv $(PYTHON) $(B)/venv
	@$(MAKE) --no-print-directory -j$(JOBS) all san $(unit_tests:%=$(B)/unit/test_%) $(replays) $(test_programs)
	@$(PYTHON) tests/support/run_tests.py --build $(B) --unit '$(unit_tests)' --fuzz '$(fuzz_targets)' --match '$(T)' \
		--asan "$$($(CC) -print-file-name=libasan.so)" unit corpus worker worker-sanitised integration integration-sanitised

test-unit: $(unit_tests:%=$(B)/unit/test_%) ## the unit tests alone
	@$(PYTHON) tests/support/run_tests.py --build $(B) --unit '$(unit_tests)' unit

test-corpus: $(replays) ## the fuzz targets over their committed corpora, without fuzzing
	@$(PYTHON) tests/support/run_tests.py --build $(B) --fuzz '$(fuzz_targets)' corpus

san: $(B)/san/leangate $(worker) $(pysan) ## with ASan and UBSan: the program, build/san/leangate, and the worker, build/pysan

torture: ## let each call of malloc, accept, fork, write, ... fail in turn, once, over a short scenario
	@tests/support/need-packages build test
	@tests/support/need-venv $(PYTHON) $(B)/venv
	@$(MAKE) --no-print-directory -j$(JOBS) all $(test_programs)
	@LEANGATE_LONG=1 $(PYTHON) tests/support/run_tests.py --build $(B) --match torture integration

valgrind: $(program) $(worker) ## a small form of the integration tests under valgrind (T=pattern: those tests instead)
	@tests/support/need-packages valgrind test
	@tests/support/need-venv $(PYTHON) $(B)/venv
	@$(PYTHON) tests/support/run_tests.py --build $(B) --match '$(T)' integration-valgrind

# Each keeps its raw samples in build/bench/; bench-report writes docs/BENCHMARKS.md and README's table from them.
bench: bench-needs bench-peers bench-venvs ## every bench in turn, then the report (ARGS="--skip cold", --quick: only that they work; ARGS=--help: the options of any)
	@$(B)/bench-venv/bin/python bench/all.py $(ARGS) --cold-venvs $$(ls -d $(B)/cold-3* | grep -v bare)

$(benches): bench-%: bench-needs
	@$(B)/bench-venv/bin/python bench/$*.py $(ARGS)

bench-needs: all
	@tests/support/need-packages bench
	@tests/support/need-venv $(PYTHON) $(B)/bench-venv bench/requirements.txt bench/requirements-peers.txt

bench-curves bench-memory bench-warm bench-front bench-script bench-containers: bench-peers

# Who cannot be had is left out, and named by the bench.
bench-peers:
	@tests/support/need-servers $(B)/servers || :
	@tests/support/need-packages bench-peers || :

bench-venvs: all
	@for v in 3.11 3.13; do for python in $$HOME/.pyenv/versions/$$v.*/bin/python; do \
		test ! -x "$$python" || tests/support/need-venv "$$python" $(B)/cold-$$v bench/requirements-cold.txt || exit 1; done; done
	@test -d $(B)/cold-3.11 -o -d $(B)/cold-3.13 || tests/support/need-venv $(PYTHON) $(B)/cold-3 bench/requirements-cold.txt

bench-memory: ## memory and wake-ups when idle, a warm hello, and others beside it, each started alone
bench-warm: ## requests/s and CPU of warm apps beside Granian, gunicorn, uvicorn, uWSGI and bjoern (ARGS="--app flask")
bench-pace: ## latency at 100 requests/s, quiet and beside slow uploads
bench-curves: ## memory over time, idle, under load and idle again, beside 16 other set-ups
bench-density: ## memory of 1 to 200 idle apps, and of ten that are active
bench-lazy: ## the share of cold requests against the gap between requests
bench-front: ## requests/s of a 1 KB static file beside lighttpd's (ARGS=--no-log)
bench-slow: ## latency of an ordinary client beside 1,100 slow ones
bench-life: ## cold starts, a rush, 1,000 apps, and what stays after 100,000 requests, 1,000 starts and 50 reloads
bench-script: ## a plain script beside lighttpd's CGI
bench-worker: ## a worker alone: mode fork beside persistent, memory of copies, memory after 100,000 requests (ARGS="--requests 0")
bench-containers: ## one endpoint per container: images and memory of their cgroups, where podman or docker runs (root)
bench-report: ## docs/BENCHMARKS.md with its plots, and README's table, from what the other benches have kept

bench-cold: bench-needs bench-venvs ## the first request to a sleeping app against a plain import, on 3.11 and 3.13 of pyenv (ARGS='--condition warm')
	@$(B)/bench-venv/bin/python bench/cold.py $(ARGS) $$(ls -d $(B)/cold-3* | grep -v bare)

fuzz: ## fuzz one parser with clang's libFuzzer (TARGET=http_head SECS=60)
	@tests/support/need-packages fuzz
	@$(MAKE) --no-print-directory $(B)/fuzz/fuzz_$(or $(TARGET),http_head)
	@mkdir -p $(B)/fuzz/corpus/$(or $(TARGET),http_head)
	$(B)/fuzz/fuzz_$(or $(TARGET),http_head) -max_total_time=$(or $(SECS),60) -print_final_stats=1 \
		-artifact_prefix=$(B)/fuzz/ $(B)/fuzz/corpus/$(or $(TARGET),http_head) \
		$(wildcard tests/fuzz/corpus/$(or $(TARGET),http_head)) \
		$(patsubst %,-dict=%,$(wildcard tests/fuzz/$(or $(TARGET),http_head).dict))

# --- style ---------------------------------------------------------------------------------------------------------

# Without test_conf.c: clang-format 14 crashes when it aligns the arrays of that file.
c_files = $(filter-out tests/unit/test_conf.c,$(wildcard gateway/*.[ch] fcgi/*.[ch] config/*.[ch] pyworker/*.[ch] \
                     tests/unit/*.[ch] tests/fuzz/*.[ch] tests/support/*.c bench/*.c))

lint: ## layers, banned functions, self-contained headers, clang's warnings, musl, clang-tidy, cppcheck
	@tests/support/need-packages build lint
	$(call say,LINT,'tests/lint')
	$(Q)$(PYTHON) tests/lint/layers.py
	$(Q)$(PYTHON) tests/lint/banned.py
	$(Q)CC='$(CC)' $(PYTHON) tests/lint/headers.py
	@$(MAKE) --no-print-directory -j$(JOBS) CC='$(CLANG)' B=$(B)/clang all
	@$(MAKE) --no-print-directory -j$(JOBS) CC='$(MUSL)' B=$(B)/musl musl-objects
	$(call say,TIDY,'gateway fcgi config')
	$(Q)printf '%s\n' $(program_objects:%=%.c) | xargs -P $(JOBS) -I FILE \
		clang-tidy --quiet FILE -- -std=gnu11 -D_GNU_SOURCE= -Igateway -Ifcgi -Iconfig 2>/dev/null
	$(call say,CPPCHECK,'gateway fcgi config')
	$(Q)cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--suppress=missingIncludeSystem -D_GNU_SOURCE= -Igateway -Ifcgi -Iconfig -j $(JOBS) gateway fcgi config

# Whether all of the program compiles with musl, too; the libraries' headers are those of glibc's packages.
musl-objects: $(program_objects:%=$(B)/obj/%.o)

fmt: ## format all C files
	$(call say,FMT,'all C files')
	$(Q)clang-format -i $(c_files)

fmt-check: ## fail when a C file is not formatted
	$(call say,FMT,'all C files: only a look')
	$(Q)clang-format --dry-run --Werror $(c_files)

# --- the program, one rule set per variant -------------------------------------------------------------------------

# $(1) directory, $(2) flags to compile, $(3) flags to link
define variant
$(1)/obj/%.o: %.c $(1)/flags
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$$(CC) $$(CPPFLAGS_$(1)) $(2) $$(must_cflags) $$(if $$(filter $$*,$$(wire_objects)),-Wconversion) -c -o $$@ $$<

$(1)/leangate: $$(program_objects:%=$(1)/obj/%.o)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $(3) $$(LDFLAGS) -o $$@ $$(IDLE:%=$(1)/obj/gateway/%.o) -l:libev.a \
		$$(filter-out $$(IDLE:%=$(1)/obj/gateway/%.o),$$^) $$(must_libs)

# Objects are made anew when the flags change: the file is touched only if its text does.
$(1)/flags: FORCE
	@mkdir -p $$(@D)
	@echo '$$(CC) $$(CPPFLAGS_$(1)) $(2) $(3) $$(must_cflags)' | cmp -s - $$@ || \
		echo '$$(CC) $$(CPPFLAGS_$(1)) $(2) $(3) $$(must_cflags)' >$$@

-include $$(program_objects:%=$(1)/obj/%.d)
endef

CPPFLAGS_$(B) = $(CPPFLAGS)
CPPFLAGS_$(B)/static = $(CPPFLAGS)
$(eval $(call variant,$(B),$(harden_cflags) $$(CFLAGS),-pie $(harden_ldflags) $$(CFLAGS)))
$(eval $(call variant,$(B)/san,$(san_cflags),$(san_cflags)))
$(eval $(call variant,$(B)/static,$(harden_cflags) $$(CFLAGS),-static-pie $(harden_ldflags) $$(CFLAGS)))

# The program looks for the worker beside itself.
$(B)/san/leangate $(B)/static/leangate: | $(B)/san/pyworker $(B)/static/pyworker
$(B)/san/pyworker $(B)/static/pyworker $(B)/torture/pyworker:
	@mkdir -p $(@D)
	@ln -sfn ../pyworker $@

# --- the worker ----------------------------------------------------------------------------------------------------

# $(1) directory, $(2) flags to compile, $(3) flags to link
define worker_variant
$(1)/obj/pyworker/%.o: pyworker/%.c | check-libfcgi
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$$(CC) $(2) $$(py_cflags) $$(py_includes) $$(fcgi_cflags) -c -o $$@ $$<

$(1)/pyworker/_pyworker.abi3.so: $$(PYWORKER_C:%=$(1)/obj/pyworker/%.o)
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $(3) $$(py_ldflags) $$(LDFLAGS) -o $$@ $$^ $$(fcgi_libs)

$(1)/pyworker/%.py: pyworker/%.py
	@mkdir -p $$(@D)
	$$(call say,COPY,$$@)
	$$(Q)cp $$< $$@
	$$(Q)$$(PYTHON) -m py_compile $$@

-include $$(PYWORKER_C:%=$(1)/obj/pyworker/%.d)
endef

$(eval $(call worker_variant,$(B),$$(CPPFLAGS) $$(CFLAGS),$$(CFLAGS)))
$(eval $(call worker_variant,$(B)/pysan,$$(san_cflags),$$(san_cflags)))

check-libfcgi:
	@tests/support/check-libfcgi

# --- unit tests and fuzz targets -----------------------------------------------------------------------------------

$(B)/unit/%.o: tests/unit/%.c $(B)/san/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(san_cflags) $(must_cflags) -Itests/unit -c -o $@ $<

# $(1) test: only the objects of its row
define unit_test
$(B)/unit/test_$(1): $(B)/unit/test_$(1).o $(UNIT_$(1):%=$(B)/san/obj/%.o)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(san_cflags) -o $$@ $$^ $(UNIT_LIBS_$(1)) -lcmocka
-include $(B)/unit/test_$(1).d
endef
$(foreach test,$(unit_tests),$(eval $(call unit_test,$(test))))

# $(1) target
define fuzz_target
$(B)/fuzz/fuzz_$(1): tests/fuzz/fuzz_$(1).c $(FUZZ_$(1):%=%.c)
	@mkdir -p $$(@D)
	$$(call say,CLANG,$$@)
	$$(Q)$$(CLANG) -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -std=gnu11 -D_GNU_SOURCE= -Igateway -Ifcgi -Iconfig -o $$@ $$^ $(FUZZ_LIBS_$(1))
endef
$(foreach target,$(fuzz_targets),$(eval $(call fuzz_target,$(target))))

# The same targets under any compiler, fed with files: $(1) target
define replay
$(B)/replay/fuzz_$(1): $(B)/replay/fuzz_$(1).o $(B)/replay/replay.o $(FUZZ_$(1):%=$(B)/san/obj/%.o)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(san_cflags) -o $$@ $$^ $(FUZZ_LIBS_$(1))
-include $(B)/replay/fuzz_$(1).d
endef
$(foreach target,$(fuzz_targets),$(eval $(call replay,$(target))))

$(B)/replay/%.o: tests/fuzz/%.c $(B)/san/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(san_cflags) $(must_cflags) -c -o $@ $<

# --- what only tests use -------------------------------------------------------------------------------------------

# The parsers, for the test that compares them with others'.
$(B)/test/libhttp_head.so: tests/support/http_head_shim.c $(UNIT_http_head:%=%.c) $(UNIT_http_chunked:%=%.c) \
                           $(wildcard gateway/http_*.h) gateway/slice.h
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -O1 -g -fPIC -shared -std=gnu11 -D_GNU_SOURCE= $(warnings) -Igateway -o $@ $(filter %.c,$^)

# Calls that fail, or are slow.
$(B)/test/libfaults.so: tests/support/faults.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -O1 -g -fPIC -shared -std=gnu11 -D_GNU_SOURCE= $(warnings) -o $@ $<

# The sanitised program, whose calls of these functions can be made to fail (tests/support/torture.c).
tortured = malloc calloc realloc strdup strndup accept4 connect fork pipe2 socketpair socket open64 mkdtemp mkostemp64 send \
           write pwrite64 recv sendfile64 read pread64 bind listen fstat64 ftruncate64 fcntl64 epoll_ctl epoll_create1 syscall

$(B)/torture/torture.o: tests/support/torture.c $(B)/san/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(san_cflags) $(must_cflags) -c -o $@ $<

$(B)/torture/leangate: $(program_objects:%=$(B)/san/obj/%.o) $(B)/torture/torture.o | $(B)/torture/pyworker
	$(call say,LINK,$@)
	$(Q)$(CC) $(san_cflags) $(tortured:%=-Wl,--wrap=%) $(LDFLAGS) -o $@ $^ $(must_libs)

# --- installing ----------------------------------------------------------------------------------------------------

manual = $(wildcard docs/*.1 docs/*.5)

install: ## install what `make` has built (PREFIX, DESTDIR, mandir); never overwrites a gateway.ini
	@test -x $(program) -a -e $(B)/pyworker/_pyworker.abi3.so || { echo "nothing to install yet: run make first" >&2; exit 1; }
	$(INSTALL) -d $(DESTDIR)$(bindir) $(DESTDIR)$(libdir)/pyworker $(DESTDIR)$(datadir)/examples/hello $(DESTDIR)$(sysconfdir)
	$(INSTALL) -m 755 $(program) $(DESTDIR)$(bindir)/leangate
	$(INSTALL) -m 644 $(worker) $(DESTDIR)$(libdir)/pyworker
	@umask 022; for python in $(PYTHON) python3.9 python3.10 python3.11 python3.12 python3.13 python3.14; do \
		! $$python -c '' 2>/dev/null || env -u PYTHONDONTWRITEBYTECODE $$python -m compileall -q -s '$(DESTDIR)' $(DESTDIR)$(libdir)/pyworker; done
	$(INSTALL) -m 644 examples/hello/app.py $(DESTDIR)$(datadir)/examples/hello
	@test -e $(DESTDIR)$(sysconfdir)/gateway.ini || { umask 022; \
		sed 's|^directory = examples/|directory = $(datadir)/examples/|' gateway.ini >$(DESTDIR)$(sysconfdir)/gateway.ini && \
		echo 'wrote $(DESTDIR)$(sysconfdir)/gateway.ini'; }
	$(INSTALL) -D -m 644 completions/leangate.bash $(DESTDIR)$(completionsdir)/leangate
	$(foreach page,$(manual),$(INSTALL) -D -m 644 $(page) $(DESTDIR)$(mandir)/man$(subst .,,$(suffix $(page)))/$(notdir $(page)) &&) :

uninstall: ## remove what install has put there, except a gateway.ini that was changed
	rm -f $(DESTDIR)$(bindir)/leangate $(DESTDIR)$(completionsdir)/leangate $(foreach page,$(manual),$(DESTDIR)$(mandir)/man$(subst .,,$(suffix $(page)))/$(notdir $(page)))
	rm -rf $(DESTDIR)$(libdir)/pyworker $(DESTDIR)$(datadir)/examples/hello
	@sed 's|^directory = examples/|directory = $(datadir)/examples/|' gateway.ini | \
		cmp -s - $(DESTDIR)$(sysconfdir)/gateway.ini && rm $(DESTDIR)$(sysconfdir)/gateway.ini || :
	@rmdir -p --ignore-fail-on-non-empty $(DESTDIR)$(libdir) $(DESTDIR)$(datadir)/examples $(DESTDIR)$(sysconfdir) 2>/dev/null || :

clean: ## remove build/
	rm -rf $(B)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18

print-%:
	@echo '$* = $($*)'
