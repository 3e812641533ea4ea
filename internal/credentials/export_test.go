// SPDX-License-Identifier: Apache-2.0

package credentials

import "css_vpcep_exporter/internal/cloud"

// Internals returns the values that hold the secrets of a source of NewUser, which must have returned a token.
func Internals(user cloud.CredentialSource) map[string]any {
	c := user.(*cache)
	i := c.issuer.(*tokenIssuer)
	login, held := loginCredentials{i.login, i.password}, c.held.Load()
	return map[string]any{
		"issuer": i, "struct of an issuer": struct{ I issuer }{i}, "client of an issuer": i.client, "login": i.login,
		"loginCredentials": login, "options of a login": cloud.Options{Credentials: login},
		"*issued": held, "issued": *held, "slice of internals": []any{c, i, login},
	}
}

// OIDCInternals is like Internals, for a source of NewOIDC.
func OIDCInternals(source cloud.CredentialSource) map[string]any {
	c := source.(*cache)
	i := c.issuer.(*oidcIssuer)
	held := c.held.Load()
	return map[string]any{
		"issuer": i, "struct of an issuer": struct{ I issuer }{i}, "clients of an issuer": []any{i.exchange, i.iam},
		"ID token": i.token, "IAM token": &i.iamToken, "*issued": held, "issued": *held,
	}
}
