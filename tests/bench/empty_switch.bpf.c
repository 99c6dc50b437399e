// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the kernel takes to call a program that does nothing, where the off-CPU sampler has its own. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("tp_btf/sched_switch")
int empty_switch(void *context)
{
	return 0;
}

SEC("tp_btf/sched_waking")
int empty_waking(void *context)
{
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
