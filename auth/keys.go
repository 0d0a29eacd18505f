package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"roster/models"
)

// The sizes of keys. The upper limit of RSA is there because a key set comes
// over the network, and the work of one check grows with the square of the size.
const (
	minSecretBytes = 32
	minRSABits     = 2048
	maxRSABits     = 8192
)

// methods are the algorithms that a token can be signed with. "none" is not one.
var methods = map[string]jwt.SigningMethod{
	"HS256": jwt.SigningMethodHS256,
	"HS384": jwt.SigningMethodHS384,
	"HS512": jwt.SigningMethodHS512,
	"RS256": jwt.SigningMethodRS256,
	"RS384": jwt.SigningMethodRS384,
	"RS512": jwt.SigningMethodRS512,
	"PS256": exactSalt(jwt.SigningMethodPS256),
	"PS384": exactSalt(jwt.SigningMethodPS384),
	"PS512": exactSalt(jwt.SigningMethodPS512),
	"ES256": jwt.SigningMethodES256,
	"ES384": jwt.SigningMethodES384,
	"ES512": jwt.SigningMethodES512,
	"EdDSA": jwt.SigningMethodEdDSA,
}

// exactSalt takes only a salt as long as the hash, as RFC 7518, section 3.5 has
// it. The library takes any length, for the sake of its own old tokens.
func exactSalt(m *jwt.SigningMethodRSAPSS) *jwt.SigningMethodRSAPSS {
	exact := *m
	exact.VerifyOptions = nil
	return &exact
}

// key is a key that can verify signatures, with the algorithms that it may be
// used for. They follow from the key, never from a token: a public key that was
// taken for an HMAC secret would let everybody sign (RFC 8725, section 3.1).
type key struct {
	id         string
	material   any
	algorithms []string
}

func (k *key) allows(alg string) bool { return slices.Contains(k.algorithms, alg) }

// forAlgorithm gives the key if a token's alg is one of its own.
func (k *key) forAlgorithm(alg string) (*key, error) {
	if !k.allows(alg) {
		return nil, refusedAlgorithm(alg, k)
	}
	return k, nil
}

func refusedAlgorithm(alg string, k *key) error {
	return fmt.Errorf("alg %s does not fit the key, which verifies %s", models.Quote(alg), strings.Join(k.algorithms, ", "))
}

// newKey refuses keys that are too weak or of a kind that signs no tokens.
func newKey(id string, material any) (*key, error) {
	algorithms, err := algorithmsOf(material)
	if err != nil {
		return nil, err
	}
	return &key{id: id, material: material, algorithms: algorithms}, nil
}

func algorithmsOf(material any) ([]string, error) {
	switch material := material.(type) {
	case []byte:
		return hmacAlgorithms(len(material))
	case *rsa.PublicKey:
		return rsaAlgorithms(material)
	case *ecdsa.PublicKey:
		return curveAlgorithms(material.Curve)
	case ed25519.PublicKey:
		return []string{"EdDSA"}, nil
	default:
		return nil, fmt.Errorf("a key of type %T cannot verify tokens; RSA, EC and Ed25519 can", material)
	}
}

// hmacAlgorithms keeps to RFC 7518, section 3.2: a key at least as long as the hash.
func hmacAlgorithms(size int) ([]string, error) {
	switch {
	case size < minSecretBytes:
		return nil, fmt.Errorf("the secret has %d bytes; at least %d are needed", size, minSecretBytes)
	case size < 48:
		return []string{"HS256"}, nil
	case size < 64:
		return []string{"HS256", "HS384"}, nil
	default:
		return []string{"HS256", "HS384", "HS512"}, nil
	}
}

func rsaAlgorithms(public *rsa.PublicKey) ([]string, error) {
	if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return nil, fmt.Errorf("the RSA key has %d bits; between %d and %d are needed", bits, minRSABits, maxRSABits)
	}
	if public.E < 3 || public.E%2 == 0 {
		return nil, fmt.Errorf("the RSA key has the exponent %d, which is not safe", public.E)
	}
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
}

// curveAlgorithms gives the one algorithm of a curve (RFC 7518, section 3.4).
// The library compares only the length of the signature.
func curveAlgorithms(curve elliptic.Curve) ([]string, error) {
	switch curve {
	case elliptic.P256():
		return []string{"ES256"}, nil
	case elliptic.P384():
		return []string{"ES384"}, nil
	case elliptic.P521():
		return []string{"ES512"}, nil
	default:
		return nil, fmt.Errorf("the EC key is on the curve %s; P-256, P-384 or P-521 are needed", curve.Params().Name)
	}
}

// parsePEM reads one public key or certificate.
func parsePEM(data []byte) (*key, error) {
	var blocks []*pem.Block
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if strings.Contains(block.Type, "PRIVATE KEY") {
			return nil, errors.New("the public key file holds a private key; give the public key only, and keep the private key where tokens are signed")
		}
		blocks, data = append(blocks, block), rest
	}
	if len(blocks) != 1 {
		return nil, fmt.Errorf("the public key file holds %d PEM blocks; exactly one is needed", len(blocks))
	}
	material, err := parseBlock(blocks[0])
	if err != nil {
		return nil, fmt.Errorf("the public key cannot be read: %w", err)
	}
	return newKey("", material)
}

func parseBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		// The file names the key to trust. Who signed the certificate, and until
		// when, is no statement about tokens and is not asked.
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	default:
		return nil, fmt.Errorf("the PEM block is %q; PUBLIC KEY, RSA PUBLIC KEY or CERTIFICATE is needed", block.Type)
	}
}
