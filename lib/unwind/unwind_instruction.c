/* SPDX-License-Identifier: Apache-2.0 */
#include <Zydis/Zydis.h>

#include "cleanup.h"
#include "unwind_instruction.h"
#include "unwind_table.h"

#define NONE UNWIND_INSTRUCTION_NO_REGISTER

struct decoding {
	ZydisDecoder decoder;
	ZydisDecoderContext context;
	ZydisDecodedInstruction instruction;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	uint64_t address;
};

/* By DWARF number; zydis has the order of the encoding: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15. */
static uint8_t number_of(ZydisRegister reg)
{
	static const uint8_t numbers[] = { 0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15 };
	ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);

	if (whole < ZYDIS_REGISTER_RAX || whole > ZYDIS_REGISTER_R15)
		return NONE;
	return numbers[whole - ZYDIS_REGISTER_RAX];
}

static bool is_register(const ZydisDecodedOperand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->size == 64 && number_of(o->reg.value) != NONE;
}

/* Memory at a register and a number: of the stack, if the register points into it. */
static bool is_plain_memory(const ZydisDecodedOperand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.index == ZYDIS_REGISTER_NONE && number_of(o->mem.base) != NONE &&
		ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, o->mem.base) == 64 &&
		o->mem.segment != ZYDIS_REGISTER_FS && o->mem.segment != ZYDIS_REGISTER_GS;
}

static bool is_rip_relative(const ZydisDecodedOperand *o)
{
	return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base == ZYDIS_REGISTER_RIP;
}

static void set_target(const struct decoding *d, const ZydisDecodedOperand *o, struct unwind_instruction *ret)
{
	ZyanU64 target;

	if (ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&d->instruction, o, d->address, &target)))
		ret->target = target;
}

/* What is known of an instruction without its operands. */
static enum unwind_instruction_kind kind_of(const ZydisDecodedInstruction *i)
{
	switch (i->mnemonic) {
	case ZYDIS_MNEMONIC_NOP: case ZYDIS_MNEMONIC_INT3:
		return UNWIND_INSTRUCTION_PADDING;
	case ZYDIS_MNEMONIC_PUSH: case ZYDIS_MNEMONIC_PUSHFQ:
		return UNWIND_INSTRUCTION_PUSH;
	case ZYDIS_MNEMONIC_POP: case ZYDIS_MNEMONIC_POPFQ:
		return UNWIND_INSTRUCTION_POP;
	case ZYDIS_MNEMONIC_LEAVE:
		return UNWIND_INSTRUCTION_LEAVE;
	case ZYDIS_MNEMONIC_ENTER:
		return UNWIND_INSTRUCTION_ENTER;
	case ZYDIS_MNEMONIC_HLT: case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_IRET: case ZYDIS_MNEMONIC_IRETD: case ZYDIS_MNEMONIC_IRETQ: case ZYDIS_MNEMONIC_SYSRET:
		return UNWIND_INSTRUCTION_STOP;
	default:
		break;
	}
	switch (i->meta.category) {
	case ZYDIS_CATEGORY_CALL:
		return UNWIND_INSTRUCTION_CALL;
	case ZYDIS_CATEGORY_RET:
		return UNWIND_INSTRUCTION_RETURN;
	case ZYDIS_CATEGORY_COND_BR:
		return UNWIND_INSTRUCTION_BRANCH;
	case ZYDIS_CATEGORY_UNCOND_BR:
		return UNWIND_INSTRUCTION_JUMP;
	default:
		return UNWIND_INSTRUCTION_OTHER;
	}
}

static void read_jump(const struct decoding *d, struct unwind_instruction *ret)
{
	const ZydisDecodedOperand *o = &d->operands[0];

	if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
		set_target(d, o, ret);
		return;
	}
	if (ret->kind == UNWIND_INSTRUCTION_CALL) {
		ret->kind = UNWIND_INSTRUCTION_CALL_INDIRECT;
		return;
	}
	ret->kind = UNWIND_INSTRUCTION_JUMP_INDIRECT;
	if (is_register(o))
		ret->reg = number_of(o->reg.value);
	else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base == ZYDIS_REGISTER_NONE &&
		 o->mem.index != ZYDIS_REGISTER_NONE && o->mem.scale == 8 && o->mem.disp.value > 0)
		ret->target = (uint64_t)o->mem.disp.value;
}

static bool read_set(const struct decoding *d, const ZydisDecodedOperand *from, int64_t displacement, struct unwind_instruction *ret)
{
	if (displacement != (int32_t)displacement)
		return false;
	ret->kind = UNWIND_INSTRUCTION_SET;
	ret->reg = number_of(d->operands[0].reg.value);
	ret->base = number_of(from->type == ZYDIS_OPERAND_TYPE_MEMORY ? from->mem.base : from->reg.value);
	ret->displacement = (int32_t)displacement;
	return true;
}

static bool read_store(const struct decoding *d, const ZydisDecodedOperand *to, uint8_t reg, struct unwind_instruction *ret)
{
	if (!is_plain_memory(to) || to->mem.disp.value != (int32_t)to->mem.disp.value)
		return false;
	ret->kind = UNWIND_INSTRUCTION_STORE;
	ret->reg = reg;
	ret->base = number_of(to->mem.base);
	ret->displacement = (int32_t)to->mem.disp.value;
	ret->size = (uint16_t)MIN((unsigned)to->size / 8, 4096U);
	return true;
}

static bool read_mov(const struct decoding *d, struct unwind_instruction *ret)
{
	const ZydisDecodedOperand *to = &d->operands[0], *from = &d->operands[1];

	if (is_register(to) && is_register(from))
		return read_set(d, from, 0, ret);
	if (is_register(from) && is_plain_memory(to))
		return read_store(d, to, number_of(from->reg.value), ret);
	if (is_register(to) && is_plain_memory(from) && from->mem.disp.value == (int32_t)from->mem.disp.value) {
		ret->kind = UNWIND_INSTRUCTION_LOAD;
		ret->reg = number_of(to->reg.value);
		ret->base = number_of(from->mem.base);
		ret->displacement = (int32_t)from->mem.disp.value;
		return true;
	}
	return false;
}

static bool read_arithmetic(const struct decoding *d, struct unwind_instruction *ret)
{
	const ZydisDecodedOperand *to = &d->operands[0], *from = &d->operands[1];
	ZydisMnemonic mnemonic = d->instruction.mnemonic;

	if (!is_register(to))
		return false;
	ret->reg = number_of(to->reg.value);
	if (mnemonic == ZYDIS_MNEMONIC_INC || mnemonic == ZYDIS_MNEMONIC_DEC)
		return read_set(d, to, mnemonic == ZYDIS_MNEMONIC_INC ? 1 : -1, ret);
	if (mnemonic != ZYDIS_MNEMONIC_AND && from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return read_set(d, to, mnemonic == ZYDIS_MNEMONIC_ADD ? from->imm.value.s : -from->imm.value.s, ret);
	if (mnemonic == ZYDIS_MNEMONIC_ADD && is_register(from) && ret->reg != UNWIND_REGISTER_SP) {
		ret->kind = UNWIND_INSTRUCTION_ADD;
		ret->base = number_of(from->reg.value);
		return true;
	}
	ret->kind = UNWIND_INSTRUCTION_MOVE_UNKNOWN;
	return true;
}

static bool read_lea(const struct decoding *d, struct unwind_instruction *ret)
{
	const ZydisDecodedOperand *from = &d->operands[1];

	if (!is_register(&d->operands[0]))
		return false;
	if (is_rip_relative(from)) {
		ret->kind = UNWIND_INSTRUCTION_CONSTANT;
		ret->reg = number_of(d->operands[0].reg.value);
		set_target(d, from, ret);
		return true;
	}
	if (from->mem.index != ZYDIS_REGISTER_NONE || number_of(from->mem.base) == NONE ||
	    ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, from->mem.base) != 64)
		return false;
	return read_set(d, from, from->mem.disp.value, ret);
}

/* movslq (base, index, 4), reg */
static bool read_table(const struct decoding *d, struct unwind_instruction *ret)
{
	const ZydisDecodedOperand *from = &d->operands[1];

	if (!is_register(&d->operands[0]) || from->type != ZYDIS_OPERAND_TYPE_MEMORY || from->mem.disp.value ||
	    number_of(from->mem.base) == NONE || number_of(from->mem.index) == NONE || from->mem.scale != 4)
		return false;
	ret->kind = UNWIND_INSTRUCTION_TABLE;
	ret->reg = number_of(d->operands[0].reg.value);
	ret->base = number_of(from->mem.base);
	return true;
}

static bool read_exchange(const struct decoding *d, struct unwind_instruction *ret)
{
	if (!is_register(&d->operands[0]) || !is_register(&d->operands[1]))
		return false;
	ret->kind = UNWIND_INSTRUCTION_EXCHANGE;
	ret->reg = number_of(d->operands[0].reg.value);
	ret->base = number_of(d->operands[1].reg.value);
	return true;
}

/* Whether it is one of those that do more than to overwrite registers. */
static bool read_special(const struct decoding *d, struct unwind_instruction *ret)
{
	switch (d->instruction.mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		return read_mov(d, ret);
	case ZYDIS_MNEMONIC_ADD: case ZYDIS_MNEMONIC_SUB: case ZYDIS_MNEMONIC_AND: case ZYDIS_MNEMONIC_INC: case ZYDIS_MNEMONIC_DEC:
		return read_arithmetic(d, ret);
	case ZYDIS_MNEMONIC_LEA:
		return read_lea(d, ret);
	case ZYDIS_MNEMONIC_MOVSXD:
		return read_table(d, ret);
	case ZYDIS_MNEMONIC_XCHG:
		return read_exchange(d, ret);
	default:
		return false;
	}
}

/* Registers that it writes; and memory, at a place that may be of the stack. */
static void read_written(const struct decoding *d, struct unwind_instruction *ret)
{
	for (unsigned i = 0; i < d->instruction.operand_count; i++) {
		const ZydisDecodedOperand *o = &d->operands[i];
		uint8_t reg;

		if (!(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && ret->kind == UNWIND_INSTRUCTION_OTHER)
			read_store(d, o, NONE, ret);
		reg = o->type == ZYDIS_OPERAND_TYPE_REGISTER ? number_of(o->reg.value) : NONE;
		if (reg != NONE)
			ret->written |= (uint16_t)(1U << reg);
	}
}

/* Another width than 64 bits does not occur; if it does, the stack pointer is not known any more. */
static void read_push_or_pop(const struct decoding *d, struct unwind_instruction *ret)
{
	if (d->instruction.operand_width == 16) {
		ret->kind = UNWIND_INSTRUCTION_OTHER;
		ret->written = 1 << UNWIND_REGISTER_SP;
		return;
	}
	if (d->instruction.operand_count_visible && is_register(&d->operands[0]))
		ret->reg = number_of(d->operands[0].reg.value);
}

/* Cheap to set up each time: it copies two enumerators. */
static bool decode_physically(struct reader bytes, uint64_t address, bool is_minimal, struct decoding *d)
{
	size_t n = MIN(reader_left(&bytes), (size_t)UNWIND_INSTRUCTION_MAX_SIZE);
	const uint8_t *p = reader_bytes(&bytes, n);

	ZydisDecoderInit(&d->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisDecoderEnableMode(&d->decoder, ZYDIS_DECODER_MODE_MINIMAL, is_minimal);
	d->address = address;
	return n && ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d->decoder, &d->context, p, n, &d->instruction));
}

static bool decode(struct reader bytes, uint64_t address, struct decoding *d, struct unwind_instruction *ret)
{
	if (!decode_physically(bytes, address, false, d))
		return false;
	*ret = (struct unwind_instruction){ .kind = kind_of(&d->instruction), .length = d->instruction.length, .reg = NONE, .base = NONE };
	return true;
}

static bool decode_operands(struct decoding *d)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeOperands(&d->decoder, &d->context, &d->instruction, d->operands, d->instruction.operand_count));
}

/* Without operands and categories, which cost most: relative branches are told by their opcodes. */
bool unwind_instruction_skim(struct reader bytes, uint64_t address, struct unwind_instruction *ret)
{
	struct decoding d;
	const ZydisDecodedInstruction *i = &d.instruction;

	if (!decode_physically(bytes, address, true, &d))
		return false;
	*ret = (struct unwind_instruction){ .length = i->length, .reg = NONE, .base = NONE };
	switch (i->mnemonic) {
	case ZYDIS_MNEMONIC_CALL:
		ret->kind = i->opcode == 0xe8 ? UNWIND_INSTRUCTION_CALL : UNWIND_INSTRUCTION_CALL_INDIRECT;
		break;
	case ZYDIS_MNEMONIC_JMP:
		ret->kind = i->opcode == 0xe9 || i->opcode == 0xeb ? UNWIND_INSTRUCTION_JUMP : UNWIND_INSTRUCTION_JUMP_INDIRECT;
		break;
	case ZYDIS_MNEMONIC_RET:
		ret->kind = UNWIND_INSTRUCTION_RETURN;
		break;
	case ZYDIS_MNEMONIC_NOP: case ZYDIS_MNEMONIC_INT3:
		ret->kind = UNWIND_INSTRUCTION_PADDING;
		break;
	case ZYDIS_MNEMONIC_HLT: case ZYDIS_MNEMONIC_UD2:
		ret->kind = UNWIND_INSTRUCTION_STOP;
		break;
	default:
		break;
	}
	if (ret->kind == UNWIND_INSTRUCTION_CALL || ret->kind == UNWIND_INSTRUCTION_JUMP)
		ret->target = address + i->length + (uint64_t)i->raw.imm[0].value.s;
	return true;
}

bool unwind_instruction_decode(struct reader bytes, uint64_t address, struct unwind_instruction *ret)
{
	struct decoding d;

	if (!decode(bytes, address, &d, ret))
		return false;
	switch (d.instruction.mnemonic) {
	case ZYDIS_MNEMONIC_CMP: case ZYDIS_MNEMONIC_TEST: case ZYDIS_MNEMONIC_NOP: case ZYDIS_MNEMONIC_INT3:
	case ZYDIS_MNEMONIC_ENDBR64:
		return true; /* often met: nothing in their operands matters */
	default:
		break;
	}
	if (!decode_operands(&d))
		return false;
	switch (ret->kind) {
	case UNWIND_INSTRUCTION_CALL: case UNWIND_INSTRUCTION_JUMP: case UNWIND_INSTRUCTION_BRANCH:
		read_jump(&d, ret);
		return true;
	case UNWIND_INSTRUCTION_PUSH: case UNWIND_INSTRUCTION_POP:
		read_push_or_pop(&d, ret);
		return true;
	case UNWIND_INSTRUCTION_ENTER:
		/* With nesting, it copies what we don't follow. */
		ret->displacement = (int32_t)d.operands[0].imm.value.u;
		if (d.operands[1].imm.value.u)
			ret->kind = UNWIND_INSTRUCTION_STOP;
		return true;
	case UNWIND_INSTRUCTION_OTHER:
		if (!read_special(&d, ret))
			read_written(&d, ret);
		return true;
	default:
		return true;
	}
}
