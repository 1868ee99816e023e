package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

const keySize = 32

// stream is an AES-256-CTR keystream. Streams of one key and different index never overlap (the index is the upper
// half of the counter block). As an io.Reader it feeds Lattigo's samplers.
type stream struct {
	cipher cipher.Stream
	buffer [4096]byte
	unread int // bytes of buffer not yet handed out by word
}

func newStream(key []byte, index int) *stream {
	block, err := aes.NewCipher(key)
	if err != nil || len(key) != keySize {
		panic("a stream key has 32 bytes")
	}
	var counter [aes.BlockSize]byte
	binary.BigEndian.PutUint64(counter[:8], uint64(index))
	return &stream{cipher: cipher.NewCTR(block, counter[:])}
}

// Read fills the slice with keystream; it never fails.
func (s *stream) Read(into []byte) (int, error) {
	clear(into)
	s.cipher.XORKeyStream(into, into)
	return len(into), nil
}

// word is the next 64 bits of the stream.
func (s *stream) word() uint64 {
	if s.unread == 0 {
		s.Read(s.buffer[:])
		s.unread = len(s.buffer)
	}
	at := len(s.buffer) - s.unread
	s.unread -= 8
	return binary.LittleEndian.Uint64(s.buffer[at:])
}

// uniform calls use(i, v) for i = 0 … count−1 with v uniform in [0, modulus), by rejection.
func (s *stream) uniform(count int, modulus uint64, use func(index int, value uint64)) {
	const mask = 1<<modulusBits - 1
	for index := range count {
		value := s.word() & mask
		for value >= modulus {
			value = s.word() & mask
		}
		use(index, value)
	}
}

// derive is a PRF (HKDF-SHA256) of a secret over a label and parts, framed so that no two lists of parts collide.
func derive(secret []byte, label string, parts ...[]byte) []byte {
	info := append([]byte("fedcrm/1/lattice/"+label), 0)
	for _, part := range parts {
		info = binary.BigEndian.AppendUint64(info, uint64(len(part)))
		info = append(info, part...)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, string(info), keySize)
	if err != nil {
		panic(err)
	}
	return key
}

// publicHash is SHA-256 over a label and parts, framed as in derive.
func publicHash(label string, parts ...[]byte) []byte {
	hash := sha256.New()
	hash.Write(append([]byte("fedcrm/1/lattice/"+label), 0))
	for _, part := range parts {
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		hash.Write(part)
	}
	return hash.Sum(nil)
}

func number(value int) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(value))
}
