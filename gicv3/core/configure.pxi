# From a GICv3Config to the state of a GIC that was just made.

cdef int configure_fields(GicState *s, config) except -1:
    """What the configuration says, as the core keeps it."""
    cdef u32 i
    s.num_pe = config.num_pe
    s.num_spi = config.spis
    s.num_espi = config.espis
    s.num_eppi = config.eppis
    s.prio_bits = config.priority_bits
    s.prebits = min(s.prio_bits, 7)
    s.prio_mask = <u8>(0xFF << (8 - s.prio_bits))
    s.ap_words = 1 if s.prebits <= 5 else 1 << (s.prebits - 5)
    s.level_shift = 8 - s.prio_bits
    s.level_words = max(1, (2 << s.prio_bits) // 64)
    s.id_bits = config.id_bits
    s.gate_rule = config.hpp_rule == "gate"
    s.apr_by_bpr = config.apr_rule == "bpr"
    s.aff3 = config.aff3
    s.tie_flip = 0xFFFFFFFFU if config.tie == "highest" else 0
    s.unknown_route_first = config.unknown_route == "first"
    s.strict_on = config.strict
    s.settle_steps = config.settle_steps
    s.lpi_live = config.lpi_config == "live"
    s.num_its = config.its
    s.work_budget = config.work_budget
    s.device_bits = config.device_bits
    s.event_bits = config.event_bits
    s.collection_bits = config.collection_bits
    s.pta = config.pta
    s.its_stall = config.its_errors == "stall"
    s.its_umsi_spi = config.its_umsi_spi or 0
    for i in range(3):
        s.its_entry_size[i] = config.its_entry_sizes[i]
    s.iidr = config.iidr
    for i in range(32):      # an ITS differs from the Distributor in its first byte alone
        s.pidr[i // 8][i % 8] = 0x94 if i == 24 else config.pidr[i // 8 % 3][i % 8]
    s.dist_base = config.dist_base
    s.message_base = config.message_frame or 0
    s.num_region = len(config.regions)
    for name, bit in _FEATURES.items():
        if name and config.has(name):
            s.features |= <u32>bit
    return 0


cdef int configure_map(GicState *s, config) except -1:
    """Where frames are; regions in order of their addresses."""
    first = 0
    placed = []
    for base, count in config.regions:
        placed.append((base, first, count))
        first += count
    if first != s.num_pe or len(placed) != s.num_region:
        raise ConfigError(f"redist_regions must hold {s.num_pe} PEs, got {first}")
    for i, (base, first, count) in enumerate(sorted(placed)):
        s.region[i].base = base
        s.region[i].first = first
        s.region[i].count = count
        s.pe[first + count - 1].flags |= PE_LAST
    for i, base in enumerate(config.its_frames):
        s.its[i].base = base
    return 0


cdef int configure_pes(GicState *s, config) except -1:
    """Affinities, and every PE as after a cold reset, accessible."""
    cdef u32 i
    affinities = config.affinities
    for i in range(s.num_pe):
        if affinities is None:       # 16 PEs a cluster, carrying upwards
            s.cold[i].affinity = (i & 15) | (i >> 4) << 8
        else:
            s.cold[i].affinity = affinity_pack(affinities[i])
        if not affinity_add(s, i):
            raise ConfigError(f"affinities must be distinct, got {affinities[i]:#x} twice")
        s.pe[i].hpp = INTID_NONE
        cpuif_reset_fields(s, &s.pe[i])
        cpuif_default_context(s, &s.pe[i])
        pe_accessible_bit(s, i, True)
    return 0


cdef int gic_configure(Gic gic, config) except -1:
    """Allocate and fill the state; an exception leaves what `state_release` frees."""
    cdef GicState *s = gic.s
    configure_fields(s, config)
    sysreg_configure(s)
    gic.notified = <u8 *>zalloc(s.num_pe)
    if gic.notified == NULL or not state_alloc(s):
        raise MemoryError
    configure_map(s, config)
    configure_pes(s, config)
    marks_configure(s, MARK_POLL)
    plain_configure(s)
    gic_reset(s)
    return 0
